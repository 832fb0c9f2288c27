// Checking and repairing pools in memory, sound and damaged on purpose.
#include "engine/check/check.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "engine/format/log_block.h"
#include "engine/pool/discovery.h"
#include "engine/tree/records.h"
#include "tests/engine/check/check_support.h"
#include "tests/support/log_edit.h"
#include "tests/support/media_edit.h"

namespace mpool::check {
namespace {

TEST_F(CheckTest, SoundPoolIsClean) {
  const Checked checked = run(true);
  EXPECT_TRUE(checked.clean()) << checked.text();
  EXPECT_TRUE(checked.findings.empty()) << checked.text();
  EXPECT_EQ(checked.result.pool_name, "test");
  EXPECT_EQ(checked.result.names, 4u);
}

// --- superblocks ---

TEST_F(CheckTest, DamagedSuperblockCopyIsRestored) {
  // magic, header, device parameters, location of MDC0 (under the extension checksum only)
  for (const std::uint64_t copy : kSuperblockOffsets) {
    for (const std::uint64_t at : {0, 45, 62, 75, 100, 121, 140, 175, 200, 250}) {
      test::flip(media(), copy + at, 0x11);
      const Checked checked = run();
      EXPECT_EQ(checked.result.errors, 1u) << copy + at << checked.text();
      EXPECT_EQ(checked.result.repairable_errors, 1u);
      EXPECT_TRUE(
          checked.says(Severity::error, fmt::format("superblock {}", copy == 0 ? 0 : 1), ""))
          << checked.text();
      expect_repaired();
    }
  }
}

TEST_F(CheckTest, PlaceOfMdc0IsToldByTheLogsWithoutChecksum) {
  const std::array<std::byte, 4> none{};
  for (const std::uint64_t copy : kSuperblockOffsets)
    test::overwrite(media(), copy + 124, none);
  test::flip(media(), 140);
  const Checked checked = run();
  EXPECT_TRUE(checked.says(Severity::error, "superblock 0", "place of MDC0 is wrong"))
      << checked.text();
  expect_repaired();
}

TEST_F(CheckTest, OlderSecondSuperblockIsAnUnfinishedStep) {
  AlignedBuffer block(kSuperblockSize);
  media().read(0, block.span());
  auto newer = decode_superblock(block.span())->superblock;
  newer.pool_name = "renamed";
  encode_superblock(newer, block.span());
  media().write(0, block.span());
  const Checked checked = run();
  EXPECT_EQ(checked.result.errors, 0u) << checked.text();
  EXPECT_EQ(checked.result.unfinished, 1u) << checked.text();
  expect_repaired();
}

TEST_F(CheckTest, NothingIsDoneWithoutAGoodSuperblock) {
  test::flip(media(), 0);
  test::flip(media(), kSuperblockOffsets[1] + 62);
  const Checked checked = run();
  EXPECT_TRUE(checked.says(Severity::error, "memory", "no good superblock")) << checked.text();
  expect_not_repairable();
}

TEST_F(CheckTest, TruncatedDeviceIsReported) {
  media().resize(media().size() - 64 * kZoneSize);
  EXPECT_TRUE(run().says(Severity::error, "memory", "its superblock says"));
  expect_not_repairable();
}

TEST_F(CheckTest, DevicesOfTwoPoolsAreRefused) {
  const TestTree other;
  auto devices = devices_of(tree_.media());
  auto more = devices_of(other.media());
  devices.push_back(std::move(more.front()));
  EXPECT_EQ(test::errno_of([&] { check(devices, {}); }), EINVAL);
}

TEST_F(CheckTest, CopyOfADeviceIsReported) {
  auto devices = devices_of(tree_.media());
  auto more = devices_of(tree_.media());
  devices.push_back(std::move(more.front()));
  EXPECT_EQ(check(devices, {}).errors, 1u);
}

// --- MDCs ---

// The start of the log block at or before `offset`: 512-byte sectors.
std::uint64_t block_of(std::uint64_t offset) {
  return round_down(offset, 512);
}

TEST_F(CheckTest, DamagedRecordsAreReported) {
  const ObjectRecord mblock = an_mblock();
  const Media sound = media();
  const auto at = test::find_bytes(media(), encode_record(mblock).span());
  ASSERT_TRUE(at);
  // type, media class, zone count, zone, id, length
  for (const std::uint64_t field : {0, 1, 6, 11, 17, 37}) {
    test::flip(media(), *at + field, 0x40);
    const Checked checked = run();
    EXPECT_NE(checked.result.errors, 0u) << field;
    expect_not_repairable();
    test::flip(media(), *at + field, 0x40);
  }
  EXPECT_TRUE(run().clean());
}

TEST_F(CheckTest, DamagedChunkIsReported) {
  const auto at = test::find_bytes(media(), encode_record(an_mblock()).span());
  ASSERT_TRUE(at);
  test::flip(media(), *at - 3);  // the length of the chunk
  EXPECT_TRUE(run().says(Severity::error, "MDC", "log block")) << run().text();
  expect_not_repairable();
}

// A damaged header in the middle looks like the end of the log: the rest would be lost silently.
TEST_F(CheckTest, LogCutInTheMiddleIsReported) {
  const auto at = test::find_bytes(media(), encode_record(an_mblock()).span());
  ASSERT_TRUE(at);
  tree_.mount();  // after opening, appends begin a new block
  for (int i = 0; i < 8; ++i)
    tree_.put(fmt::format("more {}", i), "content");
  tree_.unmount();
  test::flip(media(), block_of(*at) + 5);
  const Checked checked = run();
  EXPECT_TRUE(checked.says(Severity::error, "MDC", "continues the log")) << checked.text();
  expect_not_repairable();
}

// The first page of every log: of MDC0, of MDCs with and without objects, of the root MDC.
TEST_F(CheckTest, LostFirstPageOfALogIsReported) {
  const Media sound = media();
  AlignedBuffer page(kPageSize);
  std::size_t logs = 0;
  for (std::uint64_t at = 0; at < sound.size(); at += kZoneSize) {
    sound.read(at, page.span());
    const auto header = LogBlockHeader::load(page.span());
    // A log of a user may have been empty.
    const auto chunk = ChunkHeader::load(page.span(), LogBlockHeader::kSize);
    if (!header || !chunk || chunk->type != ChunkType::compaction_start) continue;
    ++logs;
    media().zero(at, kPageSize);
    const Checked checked = run();
    EXPECT_NE(checked.result.errors, 0u) << at << checked.text();
    EXPECT_EQ(checked.result.repairable_errors, 0u) << checked.text();
    expect_not_repairable();
    media().write(at, page.span());
  }
  EXPECT_EQ(logs, 4u) << "MDC0 to MDC2 and the root MDC";
  EXPECT_TRUE(run().clean());
}

TEST_F(CheckTest, ZoneOfTwoObjectsIsReported) {
  auto all = objects();
  std::erase_if(all, [](const ObjectRecord& object) { return !object.id.is_mblock(); });
  ASSERT_GE(all.size(), 2u);
  ObjectRecord forged = all[0];
  forged.layout.first_zone = all[1].layout.first_zone;
  forge(all[0], forged);
  const Checked checked = run();
  EXPECT_TRUE(checked.says(Severity::error, "pool test",
                           fmt::format("zone {} of the capacity", forged.layout.first_zone)))
      << checked.text();
  expect_not_repairable();
}

TEST_F(CheckTest, ObjectOverMetadataIsReported) {
  const ObjectRecord mblock = an_mblock();
  const Media sound = media();
  for (const auto& [zone, owner] :
       {std::pair<std::uint64_t, const char*>{0, "the superblocks"}, {1, "MDC0"}}) {
    ObjectRecord forged = mblock;
    forged.layout.first_zone = zone;
    forge(mblock, forged);
    EXPECT_TRUE(run().says(Severity::error, "pool test", owner)) << run().text();
    forge(forged, mblock);
  }
}

TEST_F(CheckTest, IdBeyondTheCheckpointIsReported) {
  const ObjectRecord mblock = an_mblock();
  ObjectRecord forged = mblock;
  forged.id = ObjectId::make(5000, ObjectType::mblock, mblock.id.slot());
  forge(mblock, forged);
  EXPECT_TRUE(run().says(Severity::error, "MDC", "checkpoint")) << run().text();
}

// --- content ---

TEST_F(CheckTest, DamagedLogOfAUserIsReported) {
  const auto all = objects();
  const auto log = std::ranges::find_if(all, [](const ObjectRecord& object) {
    return object.id.is_mlog() && object.id != root_log_id(0) && object.id != root_log_id(1);
  });
  ASSERT_NE(log, all.end());
  test::flip(media(), log->layout.first_zone * kZoneSize + LogBlockHeader::kSize + 6);
  const Checked checked = run();
  EXPECT_TRUE(checked.says(Severity::error, "mlog " + log->id.to_string(), "log block 0"))
      << checked.text();
  EXPECT_EQ(checked.result.errors, 1u);
}

// A device with a range that cannot be read.
class ScratchedDevice : public MemoryDevice {
 public:
  ScratchedDevice(const std::shared_ptr<Media>& media, std::uint64_t scratch)
      : MemoryDevice("memory", media), scratch_(scratch) {}

 protected:
  void read_impl(std::uint64_t offset, ByteSpan into) override {
    if (offset <= scratch_ && scratch_ < offset + into.size()) raise(EIO, name(), "read");
    MemoryDevice::read_impl(offset, into);
  }

 private:
  const std::uint64_t scratch_;
};

TEST_F(CheckTest, UnreadableSectorIsFoundWithData) {
  const ObjectRecord mblock = an_mblock();
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(
      std::make_unique<ScratchedDevice>(tree_.media(), mblock.layout.first_zone * kZoneSize));
  std::vector<Finding> findings;
  Options options{.data = false,
                  .report = [&](const Finding& finding) { findings.push_back(finding); },
                  .progress = nullptr};
  EXPECT_EQ(check(devices, options).errors, 0u);
  options.data = true;
  EXPECT_EQ(check(devices, options).errors, 1u);
  EXPECT_NE(findings.at(0).where.find(mblock.id.to_string()), std::string::npos);
}

// --- the tree ---

}  // namespace
}  // namespace mpool::check

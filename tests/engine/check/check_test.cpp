// Checking and repairing pools in memory, sound and damaged on purpose.
#include "engine/check/check.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "engine/format/log_block.h"
#include "engine/names/records.h"
#include "engine/pool/discovery.h"
#include "tests/engine/names/support.h"
#include "tests/support/log_edit.h"
#include "tests/support/media_edit.h"

namespace mpool::check {
namespace {

using test::kZoneSize;
using test::Media;
using test::MemoryDevice;
using test::TestTree;

// The findings of one check.
struct Checked {
  Result result;
  std::vector<Finding> findings;

  bool clean() const { return result.errors == 0 && result.unfinished == 0; }
  // True if a finding contains `text` about a subject whose name contains `where`.
  bool says(Severity severity, const std::string& where, const std::string& text) const {
    return std::ranges::any_of(findings, [&](const Finding& finding) {
      return finding.severity == severity && finding.where.find(where) != std::string::npos &&
             finding.what.find(text) != std::string::npos;
    });
  }
  std::string text() const {
    std::string all;
    for (const Finding& finding : findings) {
      all += fmt::format("{} ({}): {}: {} [{}]\n", to_string(finding.severity),
                         to_string(finding.area), finding.where, finding.what, finding.advice);
    }
    return all;
  }
};

template <typename... SharedMedia>
std::vector<std::unique_ptr<Device>> devices_of(const SharedMedia&... media) {
  std::vector<std::unique_ptr<Device>> devices;
  (devices.push_back(std::make_unique<MemoryDevice>("memory", media)), ...);
  return devices;
}

Checked check_media(const std::shared_ptr<Media>& media, bool data = false) {
  std::vector<std::unique_ptr<Device>> devices;
  auto device = std::make_unique<MemoryDevice>("memory", media);
  device->before_write([](std::uint64_t, ConstByteSpan) { ADD_FAILURE() << "check writes"; });
  devices.push_back(std::move(device));
  Checked checked;
  checked.result =
      check(devices, {.data = data,
                      .report = [&](const Finding& found) { checked.findings.push_back(found); },
                      .progress = nullptr});
  return checked;
}

class CheckTest : public ::testing::Test {
 protected:
  CheckTest() : tree_(NamespaceOptions{}) {
    tree_.mkdir("d");
    tree_.put("d/file", test::pattern(200'000));
    tree_.put("small", "text");
    tree_.append("log", "one line\n");
    tree_.names().link(tree_.stat("small").inode, kRootInode, "other name");
    tree_.unmount();
  }

  Checked run(bool data = false) const { return check_media(tree_.media(), data); }
  SimulatedMedia& media() const { return *tree_.media(); }

  // Performs the plan of a check; returns the announced texts.
  std::vector<std::string> repair_it() const {
    const Checked checked = run();
    std::vector<std::string> announced;
    const std::size_t steps = repair(devices_of(tree_.media()), checked.result.plan,
                                     [&](const std::string& text) { announced.push_back(text); });
    EXPECT_EQ(steps, announced.size());
    return announced;
  }
  void expect_repaired() const {
    EXPECT_FALSE(repair_it().empty());
    const Checked after = run();
    EXPECT_TRUE(after.clean()) << after.text();
  }
  void expect_not_repairable() const {
    const Media before = media();
    EXPECT_TRUE(repair_it().empty());
    for (std::uint64_t at = 0; at < before.size(); at += kPageSize)
      ASSERT_EQ(media().page(at), before.page(at)) << at;
  }

  // Replaces the record of an object, which must not be split over two log blocks.
  void forge(const ObjectRecord& old, const ObjectRecord& forged) const {
    const EncodedRecord was = encode_record(old);
    const EncodedRecord is = encode_record(forged);
    std::size_t replaced = 0;
    for (auto at = test::find_bytes(media(), was.span()); at;
         at = test::find_bytes(media(), was.span(), *at + 1)) {
      test::overwrite(media(), *at, is.span());
      ++replaced;
    }
    ASSERT_NE(replaced, 0u);
  }
  std::vector<ObjectRecord> objects() {
    tree_.mount();
    auto objects = tree_.pool().objects();
    tree_.unmount();
    return objects;
  }
  ObjectRecord an_mblock() {
    const auto all = objects();
    return *std::ranges::find_if(all, [](const ObjectRecord& o) { return o.id.is_mblock(); });
  }

  // Passes the CREATE record of a name to `change` and writes the result back.
  void forge_name(std::string_view name, const std::function<void(names::CreateRecord&)>& change) {
    tree_.mount();  // settles the last batch
    tree_.unmount();
    const auto pool = Pool::activate(devices_of(tree_.media()));
    const unsigned active = pool->open_root_mdc()->stats().active;
    const MlogPlace place = pool->mlog_place(*pool->find(root_log_id(active)));
    test::LogRecords records = test::read_log(place);
    std::size_t changed = 0;
    for (auto& bytes : records) {
      auto record = names::decode(bytes);
      auto* create = std::get_if<names::CreateRecord>(&record->body);
      if (create == nullptr || create->name != name) continue;
      change(*create);
      bytes = names::encode_unchecked(*record);
      ++changed;
    }
    ASSERT_EQ(changed, 1u) << name;
    test::write_log(place, records);
  }

  TestTree tree_;
};

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

TEST_F(CheckTest, DamagedNameIsReported) {
  const auto at = test::find_bytes(media(), test::bytes_of("small"));
  ASSERT_TRUE(at);
  test::flip(media(), *at);
  const Checked checked = run();
  EXPECT_TRUE(checked.says(Severity::error, "root MDC", "checksum")) << checked.text();
  expect_not_repairable();
}

TEST_F(CheckTest, MissingMblockIsReported) {
  forge_name("file", [](names::CreateRecord& record) {
    record.content.extents.at(1).object =
        ObjectId::make(77, ObjectType::mblock, record.content.extents.at(1).object.slot());
  });
  const Checked checked = run();
  EXPECT_TRUE(checked.says(Severity::error, "/d/file", "does not exist")) << checked.text();
  expect_not_repairable();
}

TEST_F(CheckTest, ExtentBeyondItsMblockIsReported) {
  forge_name("file", [](names::CreateRecord& record) {
    record.content.extents.at(1).position += kPageSize;
    record.content.extents.at(1).length = kZoneSize;
  });
  const Checked checked = run();
  EXPECT_TRUE(checked.says(Severity::error, "/d/file", "which has only")) << checked.text();
}

TEST_F(CheckTest, OverlappingExtentsAreReported) {
  forge_name("file",
             [](names::CreateRecord& record) { --record.content.extents.at(1).file_offset; });
  EXPECT_TRUE(run().says(Severity::error, "root MDC", "overlap")) << run().text();
}

TEST_F(CheckTest, RecordsThatDoNotFitTheTreeAreReported) {
  forge_name("file", [](names::CreateRecord& record) { record.parent = 99; });
  EXPECT_TRUE(run().says(Severity::error, "root MDC", "inode 99 does not exist")) << run().text();
  expect_not_repairable();
}

TEST_F(CheckTest, ObjectThatWasNeverNamedIsANote) {
  tree_.mount();
  store_mblock(tree_.pool(), {}, AlignedBuffer::zeroed(kPageSize).span());
  tree_.unmount();
  const Checked checked = run();
  EXPECT_TRUE(checked.clean()) << checked.text();
  EXPECT_TRUE(checked.says(Severity::note, "pool test", "1 objects belong to no file"))
      << checked.text();
}

// After every write of a workload a check finds only steps to finish, and repair finishes them.
TEST_F(CheckTest, CrashesLeaveUnfinishedStepsAndNoDamage) {
  std::vector<Media> moments;
  const auto make_device = [&](std::shared_ptr<Media> media) {
    auto device = std::make_unique<MemoryDevice>("memory", media);
    device->after_write([&moments, media] { moments.push_back(*media); });
    return device;
  };
  {
    TestTree tree(tree_.media(), NamespaceOptions{.sync = true}, make_device);
    tree.put("new", test::pattern(150'000, 3));
    tree.unlink("d/file");
    tree.append("log", "more\n");
    tree.rename("new", "small");
    tree.append("log 2", "first\n");
    tree.unlink("log");
  }
  std::size_t unfinished = 0;
  for (std::size_t i = 0; i < moments.size(); ++i) {
    const auto media = std::make_shared<Media>(moments[i]);
    const Checked checked = check_media(media);
    ASSERT_EQ(checked.result.errors, 0u) << "after write " << i << '\n' << checked.text();
    if (checked.result.unfinished == 0) continue;
    ++unfinished;
    repair(devices_of(media), checked.result.plan, [](const std::string&) {});
    const Checked after = check_media(media);
    ASSERT_TRUE(after.clean()) << "after write " << i << '\n' << checked.text() << after.text();
  }
  EXPECT_GE(unfinished, 4u) << "of " << moments.size() << " writes";
}

// The same for creating a pool: before the superblocks are written there is none.
TEST(CheckCreation, CrashesLeaveUnfinishedStepsAndNoDamage) {
  const auto media = std::make_shared<Media>(8u << 20);
  std::vector<Media> moments;
  MemoryDevice device("memory", media);
  device.after_write([&] { moments.push_back(*media); });
  CreateOptions options;
  options.name = "p";
  options.zone_size = kZoneSize;
  options.mdc_count = 2;
  options.mdc0_capacity = options.mdc_capacity = options.root_capacity = kZoneSize;
  Pool::create(device, nullptr, options);
  std::size_t pools = 0;
  for (const Media& moment : moments) {
    const Checked checked = check_media(std::make_shared<Media>(moment));
    if (checked.result.pool_name.empty()) continue;
    ++pools;
    EXPECT_EQ(checked.result.errors, checked.result.repairable_errors) << checked.text();
  }
  EXPECT_GE(pools, 1u);
  EXPECT_TRUE(check_media(media).clean()) << check_media(media).text();
}

// The same for changes of the pool itself.
TEST(CheckChanges, CrashesLeaveUnfinishedStepsAndNoDamage) {
  const auto capacity = std::make_shared<Media>(8u << 20);
  const auto staging = std::make_shared<Media>(4u << 20);
  MemoryDevice bare("memory", capacity);
  CreateOptions options;
  options.name = "p";
  options.zone_size = kZoneSize;
  options.mdc_count = 2;
  options.mdc0_capacity = options.mdc_capacity = options.root_capacity = kZoneSize;
  Pool::create(bare, nullptr, options);

  struct Moment {
    Media capacity;
    Media staging;
  };
  std::vector<Moment> moments;
  const auto watched = [&](const std::shared_ptr<Media>& media) {
    auto device = std::make_unique<MemoryDevice>("memory", media);
    device->after_write([&] { moments.push_back({*capacity, *staging}); });
    return device;
  };
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(watched(capacity));
  {
    const auto pool = Pool::activate(std::move(devices));
    pool->add_staging(watched(staging));
    pool->rename("another");
    capacity->resize(12u << 20);
    pool->grow(MediaClass::capacity);
    pool->set_spare_percent(MediaClass::staging, 10);
  }
  std::size_t unfinished = 0;
  for (std::size_t i = 0; i < moments.size(); ++i) {
    const auto first = std::make_shared<Media>(moments[i].capacity);
    const auto second = std::make_shared<Media>(moments[i].staging);
    // Before its first superblock the staging device is not one of the pool.
    const bool added = read_superblocks(*devices_of(second).front()).chosen.has_value();
    const auto devices_now = [&] { return added ? devices_of(first, second) : devices_of(first); };
    const auto check_both = [&] {
      Checked checked;
      checked.result =
          check(devices_now(), {.report = [&](const Finding& f) { checked.findings.push_back(f); },
                                .progress = nullptr});
      return checked;
    };
    const Checked before = check_both();
    // A device with only the first superblock of the pool, and one without the last one, look
    // damaged.
    EXPECT_EQ(before.result.errors, before.result.repairable_errors) << "after write " << i << '\n'
                                                                     << before.text();
    unfinished += before.result.unfinished;
    repair(devices_now(), before.result.plan, [](const std::string&) {});
    const Checked after = check_both();
    EXPECT_TRUE(after.clean()) << "after write " << i << '\n' << before.text() << after.text();
  }
  EXPECT_GE(unfinished, 3u) << "of " << moments.size() << " writes";
}

}  // namespace
}  // namespace mpool::check

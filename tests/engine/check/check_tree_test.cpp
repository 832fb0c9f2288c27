// Checks of the tree, and of what crashes leave.
#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "engine/check/check.h"
#include "engine/pool/discovery.h"
#include "engine/tree/records.h"
#include "tests/engine/check/check_support.h"

namespace mpool::check {
namespace {

class CheckTreeTest : public CheckTest {};

TEST_F(CheckTreeTest, DamagedNameIsReported) {
  const auto at = test::find_bytes(media(), test::bytes_of("small"));
  ASSERT_TRUE(at);
  test::flip(media(), *at);
  const Checked checked = run();
  EXPECT_TRUE(checked.says(Severity::error, "root MDC", "checksum")) << checked.text();
  expect_not_repairable();
}

TEST_F(CheckTreeTest, MissingMblockIsReported) {
  forge_name("file", [](names::CreateRecord& record) {
    record.content.extents.at(1).object =
        ObjectId::make(77, ObjectType::mblock, record.content.extents.at(1).object.slot());
  });
  const Checked checked = run();
  EXPECT_TRUE(checked.says(Severity::error, "/d/file", "does not exist")) << checked.text();
  expect_not_repairable();
}

TEST_F(CheckTreeTest, ExtentBeyondItsMblockIsReported) {
  forge_name("file", [](names::CreateRecord& record) {
    record.content.extents.at(1).position += kPageSize;
    record.content.extents.at(1).length = kZoneSize;
  });
  const Checked checked = run();
  EXPECT_TRUE(checked.says(Severity::error, "/d/file", "which has only")) << checked.text();
}

TEST_F(CheckTreeTest, OverlappingExtentsAreReported) {
  forge_name("file",
             [](names::CreateRecord& record) { --record.content.extents.at(1).file_offset; });
  EXPECT_TRUE(run().says(Severity::error, "root MDC", "overlap")) << run().text();
}

TEST_F(CheckTreeTest, RecordsThatDoNotFitTheTreeAreReported) {
  forge_name("file", [](names::CreateRecord& record) { record.parent = 99; });
  EXPECT_TRUE(run().says(Severity::error, "root MDC", "inode 99 does not exist")) << run().text();
  expect_not_repairable();
}

TEST_F(CheckTreeTest, ObjectThatWasNeverNamedIsANote) {
  tree_.mount();
  store_mblock(tree_.pool(), {}, AlignedBuffer::zeroed(kPageSize).span());
  tree_.unmount();
  const Checked checked = run();
  EXPECT_TRUE(checked.clean()) << checked.text();
  EXPECT_TRUE(checked.says(Severity::note, "pool test", "1 objects belong to no file"))
      << checked.text();
}

// After every write of a workload a check finds only steps to finish, and repair finishes them.
TEST_F(CheckTreeTest, CrashesLeaveUnfinishedStepsAndNoDamage) {
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

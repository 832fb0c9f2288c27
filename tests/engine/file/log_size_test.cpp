// The size of a log as known without reading it (engine/tree/records.md, "Sizes of logs").
#include <random>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

constexpr int kLogs = 100;  // more than stay open

std::unique_ptr<TestTree> reopened_after_crash(const TestTree& tree) {
  return std::make_unique<TestTree>(std::make_shared<Media>(*tree.media()), lazy());
}

void expect_sizes_without_reading(TestTree& tree, const std::vector<std::uint64_t>& sizes) {
  const std::uint64_t before = tree.device().counters().reads;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    EXPECT_EQ(tree.stat(log_name(static_cast<int>(i))).size, sizes[i]);
    const auto [parent, name] = tree.split(log_name(static_cast<int>(i)));
    EXPECT_TRUE(tree.names().lookup(parent, name, LookupReference::none, Blocking::forbidden))
        << "has to wait";
  }
  EXPECT_EQ(tree.device().counters().reads, before);
}

std::vector<std::uint64_t> make_logs(TestTree& tree) {
  std::vector<std::uint64_t> sizes;
  for (int i = 0; i < kLogs; ++i) {
    for (int j = 0; j <= i % 3; ++j)
      tree.append(log_name(i), pattern(100 + i));
    sizes.push_back(tree.stat(log_name(i)).size);
    EXPECT_EQ(sizes.back(), (100u + i) * (i % 3 + 1));
  }
  return sizes;
}

TEST(LogSize, OfAClosedLogIsKnown) {
  TestTree tree({}, {.zones = 1024, .root_capacity = 8 * kZoneSize});
  const auto sizes = make_logs(tree);
  tree.names().sync();
  expect_sizes_without_reading(tree, sizes);
  tree.remount();
  expect_sizes_without_reading(tree, sizes);
  for (int i = 0; i < kLogs; ++i)
    EXPECT_EQ(tree.get(log_name(i)).size(), sizes[i]);
}

TEST(LogSize, IsKnownToAReadOnlyMount) {
  TestTree tree({}, {.zones = 1024, .root_capacity = 8 * kZoneSize});
  const auto sizes = make_logs(tree);
  tree.unmount();
  NamespaceOptions options;
  options.read_only = true;
  TestTree read_only(tree.media(), options);
  expect_sizes_without_reading(read_only, sizes);
  read_only.remount();
  expect_sizes_without_reading(read_only, sizes);
}

TEST(LogSize, IsKnownOfALogThatWasOpenToTheEnd) {
  TestTree tree;
  tree.append(log_name(0), "one ");
  auto file = tree.open(log_name(0), {.write = true, .append = true});
  file->write(0, bytes_of("two"), true);
  file.reset();  // without close(), as after a forced end of the mount
  tree.unmount();
  tree.mount();
  expect_sizes_without_reading(tree, {7});
  EXPECT_EQ(tree.get(log_name(0)), "one two");
}

// Appends after the size was recorded are included.
TEST(LogSize, IsFoundAfterACrash) {
  TestTree tree(lazy());
  tree.append("log", "recorded ");
  tree.names().sync();
  const ScopedFile file(tree.open("log", {.write = true, .append = true}));
  file->write(0, bytes_of("more "), true);
  file->fsync();
  const auto crashed = reopened_after_crash(tree);
  EXPECT_EQ(crashed->stat("log").size, 14u);
  EXPECT_EQ(crashed->get("log"), "recorded more ");
}

// The log was not opened between the crash and the end of the next mount.
TEST(LogSize, ALowerBoundStaysOneUntilTheLogIsOpened) {
  TestTree tree(lazy());
  tree.append("log", "recorded ");
  tree.names().sync();
  const ScopedFile file(tree.open("log", {.write = true, .append = true}));
  file->write(0, bytes_of("more "), true);
  file->fsync();
  const auto crashed = reopened_after_crash(tree);
  crashed->remount();
  crashed->mkdir("directory");
  crashed->remount();
  EXPECT_EQ(crashed->stat("log").size, 14u);
  crashed->remount();
  const std::uint64_t before = crashed->device().counters().reads;
  EXPECT_EQ(crashed->stat("log").size, 14u);
  EXPECT_EQ(crashed->device().counters().reads, before);
}

// The record of the size is queued before the log is deleted, and written after: appends that are
// not on the media are not included.
TEST(LogSize, OfADeletedLogIsNotRecorded) {
  TestTree tree(lazy());
  const std::uint64_t used = tree.used_zones();
  tree.append("log", "text");
  tree.names().sync();
  {
    const ScopedFile file(tree.open("log", {.write = true, .append = true}));
    file->write(0, bytes_of("more"), true);
  }
  tree.unlink("log");
  EXPECT_EQ(tree.used_zones(), used);
  const auto crashed = reopened_after_crash(tree);
  EXPECT_TRUE(crashed->list("").empty());
}

TEST(LogSize, RecordingItChangesNoTimes) {
  TestTree tree(lazy());
  tree.append("log", "text");
  const Attributes first = tree.stat("log");
  tree.remount();
  const Attributes second = tree.stat("log");
  EXPECT_EQ(first.mtime.tv_nsec, second.mtime.tv_nsec);
  EXPECT_EQ(first.ctime.tv_nsec, second.ctime.tv_nsec);
}

TEST(LogSize, IsKeptByACompactionOfTheTree) {
  TestTree tree({}, {.zones = 512, .root_capacity = kZoneSize});
  for (int i = 0; i < 5; ++i)
    tree.append(log_name(0), pattern(kZoneSize / 2));
  for (int i = 0; i < 2000; ++i) {
    tree.mkdir("directory");
    tree.names().remove_directory(kRootInode, "directory");
  }
  tree.remount();
  expect_sizes_without_reading(tree, {5 * kZoneSize / 2});
}

// Appends, closes, syncs, clean unmounts and crashes in any order: a crash keeps the durable
// content, and adds nothing that was never appended.
TEST(LogSize, IsRightAfterAnyHistory) {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    auto tree = std::make_unique<TestTree>(lazy());
    std::string content;
    tree->append("log", "");
    tree->names().sync();
    for (int i = 0; i < 200; ++i) {
      switch (random() % 8) {
        case 0:
          tree->names().sync();
          break;
        case 1:
          tree->remount();
          break;
        case 2: {
          tree->names().sync();
          auto crashed = reopened_after_crash(*tree);
          tree->unmount();
          tree = std::move(crashed);
          break;
        }
        case 3:
          ASSERT_TRUE(tree->get("log") == content);
          break;
        case 4: {
          const auto crashed = reopened_after_crash(*tree);
          ASSERT_LE(crashed->stat("log").size, content.size());
          const std::string found = crashed->get("log");
          ASSERT_TRUE(content.starts_with(found));
          ASSERT_EQ(crashed->stat("log").size, found.size());
          break;
        }
        default: {
          const std::string text = pattern(1 + random() % 9000, random());
          tree->append("log", text);
          content += text;
        }
      }
      ASSERT_EQ(tree->stat("log").size, content.size());
    }
  }
}

}  // namespace
}  // namespace mpool::test

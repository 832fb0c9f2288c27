// Durability of appends: the number of flushes, and the order with changes of names.
#include <cerrno>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

constexpr int kManyLogs = 200;
// Of a batch with one small file: its content, the records of the tree, those of the objects.
constexpr std::uint64_t kFlushesOfABatch = 3;

// A tree with logs that have an mlog and no unsynced appends.
std::unique_ptr<TestTree> tree_with_logs() {
  auto tree = std::make_unique<TestTree>(
      lazy(), TestTree::Sizes{.zones = 1024, .root_capacity = 8 * kZoneSize});
  for (int i = 0; i < kManyLogs; ++i)
    tree->append(log_name(i), "first ");
  tree->names().sync();
  return tree;
}

// Appends through handles that stay open, so that no other record is made.
void append_to_all(TestTree& tree, std::vector<std::unique_ptr<ScopedFile>>& files) {
  for (int i = 0; i < kManyLogs; ++i) {
    files.push_back(
        std::make_unique<ScopedFile>(tree.open(log_name(i), {.write = true, .append = true})));
    (*files.back())->write(0, bytes_of("second"), true);
  }
}

template <typename Call>
std::uint64_t flushes_of(TestTree& tree, Call&& call) {
  const std::uint64_t before = tree.device().counters().flushes;
  call();
  return tree.device().counters().flushes - before;
}

std::unique_ptr<TestTree> crashed_copy(const TestTree& tree) {
  return std::make_unique<TestTree>(std::make_shared<Media>(*tree.media()), NamespaceOptions{});
}

TEST(LogSync, AllLogsShareAFlush) {
  const auto tree = tree_with_logs();
  std::vector<std::unique_ptr<ScopedFile>> files;
  append_to_all(*tree, files);
  EXPECT_EQ(flushes_of(*tree, [&] { tree->names().sync(); }), 1u);
  EXPECT_EQ(flushes_of(*tree, [&] { tree->names().sync(); }), 0u);
  const auto crashed = crashed_copy(*tree);
  for (int i = 0; i < kManyLogs; ++i)
    EXPECT_EQ(crashed->get(log_name(i)), "first second");
}

TEST(LogSync, ABatchFlushesLogsTogetherWithItsContent) {
  const auto tree = tree_with_logs();
  std::vector<std::unique_ptr<ScopedFile>> files;
  append_to_all(*tree, files);
  EXPECT_EQ(flushes_of(*tree,
                       [&] {
                         const ScopedFile file(tree->create("file"));
                         file->write(0, bytes_of("text"), false);
                         file->fsync();
                       }),
            kFlushesOfABatch);
  const auto crashed = crashed_copy(*tree);
  for (int i = 0; i < kManyLogs; ++i)
    EXPECT_EQ(crashed->get(log_name(i)), "first second");
}

TEST(LogSync, ABatchWithoutLogsCostsNoMore) {
  TestTree tree(lazy());
  for (int i = 0; i < 3; ++i) {
    tree.put("file" + std::to_string(i), "text");
    EXPECT_EQ(flushes_of(tree, [&] { tree.names().sync(); }), kFlushesOfABatch);
    tree.mkdir("directory" + std::to_string(i));
    EXPECT_EQ(flushes_of(tree, [&] { tree.names().sync(); }), 1u);
  }
}

TEST(LogSync, NoChangeIsDurableWithoutTheAppendsBeforeIt) {
  TestTree tree(lazy());
  for (int i = 0; i < 10; ++i) {
    tree.append("new", fmt::format("line {}", i));
    tree.rename("new", log_name(i));
    const ScopedFile file(tree.create("file" + std::to_string(i)));
    file->write(0, bytes_of("x"), false);
    file->fsync();
    const auto crashed = crashed_copy(tree);
    for (int j = 0; j <= i; ++j)
      ASSERT_EQ(crashed->get(log_name(j)), fmt::format("line {}", j));
  }
}

TEST(LogSync, AnFsyncMakesTheChangesBeforeTheAppendDurable) {
  TestTree tree(lazy());
  const ScopedFile log(tree.create("log", true));
  for (int i = 0; i < 3; ++i) {
    const std::string directory = "d" + std::to_string(i);
    tree.mkdir(directory);
    tree.put("new", directory);
    tree.rename("new", directory + "/file");
    log->write(0, bytes_of("line"), true);
    log->fsync();
    const auto crashed = crashed_copy(tree);
    EXPECT_EQ(crashed->get(directory + "/file"), directory);
    EXPECT_EQ(crashed->get("log").size(), (i + 1) * std::string_view("line").size());
  }
}

TEST(LogSync, NoChangeIsDurableWithoutTheAppendsToADeletedOpenLog) {
  TestTree tree(lazy());
  tree.append("log", "one ");
  const ScopedFile log(tree.open("log", {.read = true, .write = true, .append = true}));
  log->write(0, bytes_of("two"), true);
  tree.unlink("log");
  tree.names().sync();
  EXPECT_EQ(TestTree::read_all(*log), "one two");
  log->write(0, bytes_of(" three"), true);
  tree.mkdir("directory");
  tree.names().sync();
  EXPECT_EQ(TestTree::read_all(*log), "one two three");
}

// The first failed write of a log takes the device offline; the failure of the other logs must be
// reported, too.
TEST(LogSync, ALogThatFailsIsReportedBySync) {
  TestTree tree(lazy());
  tree.append("log", "text");
  tree.names().sync();
  tree.append("log", "more");
  tree.names().sync();
  const ScopedFile log(tree.open("log", {.write = true, .append = true}));
  log->write(0, bytes_of("lost"), true);
  tree.device().before_write(
      [](std::uint64_t, ConstByteSpan) { raise(EIO, "memory", "write made to fail"); });
  EXPECT_EQ(errno_of([&] { tree.names().sync(); }), EIO);
  EXPECT_EQ(errno_of([&] { tree.names().sync(); }), EIO);
  tree.device().before_write(nullptr);
}

TEST(LogSync, ALogWithoutRoomIsTriedAgain) {
  TestTree tree(lazy());
  tree.append("log", "text ");
  tree.append("other", "text ");
  tree.names().sync();
  {
    const ScopedFile log(tree.open("log", {.write = true, .append = true}));
    const ScopedFile other(tree.open("other", {.write = true, .append = true}));
    log->write(0, bytes_of("more "), true);
    other->write(0, bytes_of("more "), true);
    tree.device().before_write(
        [](std::uint64_t, ConstByteSpan) { raise(ENOSPC, "memory", "no room"); });
    EXPECT_EQ(errno_of([&] { tree.names().sync(); }), ENOSPC);
    EXPECT_EQ(errno_of([&] { log->fsync(); }), ENOSPC);
    log->write(0, bytes_of("and more"), true);
    tree.device().before_write(nullptr);
    log->fsync();
    tree.names().sync();
  }
  const auto crashed = crashed_copy(tree);
  EXPECT_EQ(crashed->get("log"), "text more and more");
  EXPECT_EQ(crashed->get("other"), "text more ");
}

// More logs than are kept open without handles: durable ones are closed, and can be opened again.
TEST(LogSync, LogsAreClosedOnceTheyAreDurable) {
  const auto tree = tree_with_logs();
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < kManyLogs; ++i)
      tree->append(log_name(i), "more ");
    tree->names().sync();
  }
  for (int i = 0; i < kManyLogs; ++i) {
    EXPECT_EQ(tree->get(log_name(i)), "first more more more ");
    tree->unlink(log_name(i));
  }
  tree->names().sync();
  EXPECT_EQ(tree->pool().object_count(), 2u);  // the root MDC's
}

}  // namespace
}  // namespace mpool::test

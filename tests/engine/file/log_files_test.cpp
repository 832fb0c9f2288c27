// Append-only files, and empty ones that become what their next writer makes them.
#include <cerrno>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

TEST(EmptyFiles, BecomeWhatTheNextWriterMakesThem) {
  TestTree tree;
  for (const char* name : {"a", "b", "c"}) {
    tree.names().make_file(kRootInode, name, 0644, {});
  }
  const auto reader = tree.open("b", {.read = true});
  auto file = tree.open("a", {.write = true});
  file->write(0, bytes_of("once"), false);
  file->close();
  tree.append("b", "log");
  EXPECT_EQ(tree.stat("a").kind, FileKind::write_once);
  EXPECT_EQ(tree.stat("b").kind, FileKind::log);
  EXPECT_EQ(tree.stat("c").kind, FileKind::empty);
  EXPECT_EQ(TestTree::read_all(*reader), "log");
  reader->close();
  tree.remount();
  EXPECT_EQ(tree.get("a"), "once");
  EXPECT_EQ(tree.get("b"), "log");
  EXPECT_EQ(tree.get("c"), "");
}

TEST(EmptyFiles, AReaderOfAnAbandonedFileSeesWhatItBecame) {
  TestTree tree;
  const auto writer = tree.create("f");
  writer->write(0, bytes_of("dropped"), false);
  const auto reader = tree.open("f", {.read = true});
  writer->truncate(0);
  writer->close();
  EXPECT_EQ(TestTree::read_all(*reader), "");
  tree.append("f", "log");
  EXPECT_EQ(TestTree::read_all(*reader), "log");
  reader->close();
}

TEST(Logs, AppendAtTheEndOnly) {
  TestTree tree;
  const auto file = tree.create("log", true);
  file->write(0, bytes_of("one"), false);
  EXPECT_EQ(errno_of([&] { file->write(0, bytes_of("x"), false); }), EINVAL);
  EXPECT_EQ(errno_of([&] { file->write(4, bytes_of("x"), false); }), EINVAL);
  file->write(3, bytes_of("two"), false);
  file->write(0, bytes_of("three"), true);
  EXPECT_EQ(TestTree::read_all(*file), "onetwothree");
  EXPECT_EQ(errno_of([&] { file->truncate(3); }), EPERM);
  EXPECT_FALSE(file->cacheable());
  file->close();
  EXPECT_EQ(tree.stat("log").size, 11u);
}

TEST(Logs, GrowOverManyMlogs) {
  TestTree tree;
  std::string all;
  const auto file = tree.create("log", true);
  for (int i = 0; i < 40; ++i) {
    const std::string record = pattern(9'000, i);
    file->write(0, bytes_of(record), true);
    all += record;
  }
  EXPECT_EQ(TestTree::read_all(*file), all);
  file->close();
  EXPECT_EQ(tree.stat("log").size, all.size());
  tree.remount();
  EXPECT_EQ(tree.stat("log").size, all.size());
  EXPECT_EQ(tree.get("log"), all);
  tree.append("log", "end");
  EXPECT_EQ(tree.get("log"), all + "end");
}

TEST(Logs, FsyncedRecordsSurviveACrash) {
  NamespaceOptions options;
  options.commit_interval = std::chrono::hours(1);
  TestTree tree(options);
  const auto file = tree.create("log", true);
  file->write(0, bytes_of("durable"), true);
  file->fsync();
  file->write(0, bytes_of("in memory"), true);
  {
    TestTree crashed(std::make_shared<Media>(*tree.media()), {});
    EXPECT_EQ(crashed.get("log"), "durable");
  }
  file->close();
}

TEST(Logs, TruncationToZeroIsAllOrNothing) {
  TestTree tree;
  const auto used = tree.used_zones();
  tree.append("log", pattern(30'000));
  tree.append("log", pattern(30'000));
  tree.append("log", pattern(30'000));
  const auto reader = tree.open("log", {.read = true});
  tree.open("log", {.write = true, .truncate = true})->close();
  EXPECT_EQ(TestTree::read_all(*reader), "");
  EXPECT_EQ(tree.stat("log").size, 0u);
  EXPECT_EQ(tree.used_zones(), used);
  tree.append("log", "new");
  EXPECT_EQ(TestTree::read_all(*reader), "new");
  reader->close();
  tree.names().truncate(tree.stat("log").inode, 0);
  tree.append("log", "newer");
  tree.remount();
  EXPECT_EQ(tree.get("log"), "newer");
  EXPECT_EQ(tree.stat("log").kind, FileKind::log);
}

TEST(Logs, UnlinkedWhileOpenCanBeUsedOn) {
  TestTree tree;
  const auto used = tree.used_zones();
  const auto file = tree.create("log", true);
  file->write(0, bytes_of("one"), true);
  tree.unlink("log");
  for (int i = 0; i < 20; ++i)
    file->write(0, bytes_of(pattern(9'000)), true);
  EXPECT_EQ(TestTree::read_all(*file).size(), 180'003u);
  tree.names().sync();
  {
    TestTree crashed(std::make_shared<Media>(*tree.media()), {});
    EXPECT_EQ(crashed.used_zones(), used);
  }
  file->close();
  EXPECT_EQ(tree.used_zones(), used);
}

TEST(Logs, AppendersNeverMix) {
  TestTree tree;
  tree.append("log", "");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const auto file = tree.open("log", {.write = true, .append = true});
      for (int i = 0; i < 200; ++i) {
        file->write(0, bytes_of(std::string(50, static_cast<char>('a' + t)) + "\n"), true);
        if (i % 50 == 0) file->fsync();
      }
      file->close();
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  const std::string text = tree.get("log");
  ASSERT_EQ(text.size(), 4u * 200 * 51);
  for (std::size_t line = 0; line < text.size(); line += 51) {
    EXPECT_EQ(text.substr(line, 51), std::string(50, text[line]) + "\n");
  }
}

TEST(Logs, ManyIdleOnesDoNotStayOpenForEver) {
  TestTree tree({}, {.zones = 1024, .root_capacity = 4 * kZoneSize});
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 150; ++i)
      tree.append("log" + std::to_string(i), "line\n");
    tree.names().sync();
  }
  for (int i = 0; i < 150; ++i)
    EXPECT_EQ(tree.get("log" + std::to_string(i)), "line\nline\n");
  tree.remount();
  for (int i = 0; i < 150; ++i)
    EXPECT_EQ(tree.get("log" + std::to_string(i)), "line\nline\n");
}

}  // namespace
}  // namespace mpool::test

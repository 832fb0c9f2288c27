// The life of files: writing, committing, appending, and concurrent changes of names.
#include <atomic>
#include <cerrno>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

TEST(WriteOnce, AnyOrder) {
  TestTree tree;
  const std::string text = pattern(3 * kZoneSize + 777);
  const auto file = tree.create("f");
  const std::string_view view = text;
  file->write(100'000, bytes_of(view.substr(100'000)), false);
  file->write(0, bytes_of(view.substr(0, 50'001)), false);
  file->write(50'000, bytes_of("xx"), false);
  file->write(50'000, bytes_of(view.substr(50'000, 1)), false);
  file->write(50'001, bytes_of(view.substr(50'001, 49'999)), false);
  EXPECT_EQ(tree.names().attributes(file->inode()).size, text.size());
  file->close();
  EXPECT_EQ(tree.get("f"), text);
  tree.remount();
  EXPECT_EQ(tree.get("f"), text);
}

TEST(WriteOnce, GapsAndDeclaredLengthsReadAsZeros) {
  TestTree tree;
  const auto file = tree.create("f");
  file->write(2 * kZoneSize + 5, bytes_of("tail"), false);
  file->truncate(4 * kZoneSize);
  file->close();
  std::string expected(4 * kZoneSize, '\0');
  expected.replace(2 * kZoneSize + 5, 4, "tail");
  EXPECT_EQ(tree.get("f"), expected);
  tree.remount();
  EXPECT_EQ(tree.get("f"), expected);
}

TEST(WriteOnce, CannotBeWrittenAfterItsCommit) {
  TestTree tree;
  const auto file = tree.create("f");
  file->write(0, bytes_of("text"), false);
  const auto early = tree.open("f", {.read = true});
  EXPECT_FALSE(early->cacheable());
  EXPECT_EQ(errno_of([&] { early->write(0, bytes_of("x"), false); }), EBADF);
  file->close();
  EXPECT_EQ(TestTree::read_all(*early), "text");
  early->close();
  EXPECT_EQ(errno_of([&] { tree.open("f", {.write = true}); }), EACCES);
  EXPECT_EQ(errno_of([&] { tree.open("f", {.write = true, .append = true}); }), EACCES);
  EXPECT_EQ(errno_of([&] { tree.open("f", {.read = true, .truncate = true}); }), EACCES);
  EXPECT_EQ(errno_of([&] { tree.names().truncate(tree.stat("f").inode, 0); }), EACCES);
  const auto late = tree.open("f", {.read = true});
  EXPECT_TRUE(late->cacheable());
  late->close();
}

TEST(WriteOnce, TellsWhileItIsBeingWritten) {
  TestTree tree;
  tree.put("f", "");
  EXPECT_FALSE(tree.stat("f").being_written);
  const auto first = tree.open("f", {.write = true});
  const auto second = tree.open("f", {.write = true});
  EXPECT_TRUE(tree.stat("f").being_written);
  first->write(0, bytes_of("text"), false);
  first->close();
  EXPECT_TRUE(tree.stat("f").being_written);
  second->close();
  EXPECT_FALSE(tree.stat("f").being_written);
  EXPECT_TRUE(tree.stat("f").committed);
  tree.append("log", "line");
  EXPECT_FALSE(tree.stat("log").being_written);
}

TEST(WriteOnce, CommitsWithItsLastWritingHandle) {
  TestTree tree;
  const auto first = tree.create("f");
  const auto second = tree.open("f", {.write = true, .append = true});
  first->write(0, bytes_of("one "), false);
  first->close();
  EXPECT_FALSE(tree.stat("f").committed);
  second->write(0, bytes_of("two"), true);
  second->close();
  EXPECT_TRUE(tree.stat("f").committed);
  EXPECT_EQ(tree.get("f"), "one two");
}

TEST(WriteOnce, TruncationToZeroStartsOver) {
  TestTree tree;
  const auto file = tree.create("f");
  file->write(0, bytes_of(pattern(2 * kZoneSize)), false);
  file->truncate(0);
  file->write(0, bytes_of("new"), false);
  file->close();
  EXPECT_EQ(tree.get("f"), "new");
}

TEST(WriteOnce, FsyncKeepsWhatWasWrittenOverACrash) {
  NamespaceOptions options;
  options.commit_interval = std::chrono::hours(1);
  TestTree tree(options);
  const std::string text = pattern(kZoneSize + 100);
  const auto file = tree.create("f");
  file->write(0, bytes_of(text), false);
  file->fsync();
  file->write(text.size(), bytes_of("lost"), false);
  {
    TestTree crashed(std::make_shared<Media>(*tree.media()), {});
    EXPECT_EQ(crashed.get("f"), text);
  }
  file->write(text.size() + 4, bytes_of("more"), false);
  file->fsync();
  file->fsync();
  file->close();
  EXPECT_EQ(tree.get("f"), text + "lostmore");
  tree.remount();
  EXPECT_EQ(tree.get("f"), text + "lostmore");
}

TEST(WriteOnce, ACrashBeforeTheCommitLeavesNothing) {
  TestTree tree;
  tree.put("before", "x");
  const auto used = tree.used_zones();
  const auto file = tree.create("f");
  file->write(0, bytes_of(pattern(10 * kZoneSize)), false);
  file->flush();
  tree.names().sync();
  {
    TestTree crashed(std::make_shared<Media>(*tree.media()), {});
    EXPECT_EQ(crashed.list(""), std::vector<std::string>{"before"});
    EXPECT_EQ(crashed.used_zones(), used);
  }
  file->close();
}

TEST(WriteOnce, UnlinkedWhileOpenStaysReadable) {
  TestTree tree;
  const auto used = tree.used_zones();
  tree.put("f", pattern(5 * kZoneSize));
  const auto file = tree.open("f", {.read = true});
  tree.unlink("f");
  EXPECT_GT(tree.used_zones(), used);
  EXPECT_EQ(TestTree::read_all(*file), pattern(5 * kZoneSize));
  {
    // A crash now: the file is never closed.
    TestTree crashed(std::make_shared<Media>(*tree.media()), {});
    EXPECT_TRUE(crashed.list("").empty());
    EXPECT_EQ(crashed.used_zones(), used);
  }
  file->close();
  EXPECT_EQ(tree.used_zones(), used);
}

TEST(WriteOnce, UnlinkedWhileWrittenLeavesNothing) {
  TestTree tree;
  const auto used = tree.used_zones();
  const auto file = tree.create("f");
  file->write(0, bytes_of(pattern(3 * kZoneSize)), false);
  tree.unlink("f");
  file->fsync();
  file->write(3 * kZoneSize, bytes_of("more"), false);
  file->close();
  EXPECT_TRUE(tree.list("").empty());
  EXPECT_EQ(tree.used_zones(), used);
}

enum class Loss { unlinked, replaced };
enum class Fsync { none, with_name, without_name };

class NameLostWhileWritten : public testing::TestWithParam<std::tuple<Loss, Fsync>> {};

// The writer's handle is not the last one: the content is removed with the reader's handle only.
TEST_P(NameLostWhileWritten, LeavesAllOfTheContentToItsReader) {
  const auto [loss, synced] = GetParam();
  TestTree tree;
  tree.put("other", "other");
  const auto used = tree.used_zones();
  const std::size_t objects = tree.pool().object_count();
  const std::string text = pattern(3 * kZoneSize + 777);
  const std::size_t middle = kZoneSize + 100;
  const auto writer = tree.create("f");
  const auto reader = tree.open("f", {.read = true});
  writer->write(0, bytes_of(std::string_view(text).substr(0, middle)), false);
  if (synced == Fsync::with_name) writer->fsync();
  if (loss == Loss::replaced) {
    tree.rename("other", "f");
  } else {
    tree.unlink("f");
  }
  if (synced == Fsync::without_name) writer->fsync();
  writer->write(middle, bytes_of(std::string_view(text).substr(middle)), false);
  writer->flush();
  writer->close();
  EXPECT_TRUE(TestTree::read_all(*reader) == text) << "before it is synced";
  EXPECT_GT(tree.used_zones(), used);
  EXPECT_TRUE(TestTree::read_all(*reader) == text) << "after that";
  {
    // A crash now: the file is never closed.
    TestTree crashed(std::make_shared<Media>(*tree.media()), {});
    EXPECT_EQ(crashed.dump(), tree.dump());
    EXPECT_EQ(crashed.used_zones(), used);
    EXPECT_EQ(crashed.pool().object_count(), objects);
  }
  reader->close();
  EXPECT_EQ(tree.used_zones(), used);
  EXPECT_EQ(tree.pool().object_count(), objects);
  tree.remount();
  EXPECT_EQ(tree.used_zones(), used);
  EXPECT_EQ(tree.pool().object_count(), objects);
}

INSTANTIATE_TEST_SUITE_P(WriteOnce, NameLostWhileWritten,
                         testing::Combine(testing::Values(Loss::unlinked, Loss::replaced),
                                          testing::Values(Fsync::none, Fsync::with_name,
                                                          Fsync::without_name)));

// A thread that looked the name up before another file took it waits for the commit. No other
// handle is open, so the commit drops the content: the thread must not find an empty file.
TEST(WriteOnce, AnOpenThatWaitsForTheCommitOfAReplacedFileIsRefused) {
  NamespaceOptions options;
  options.commit_interval = std::chrono::hours(1);  // no writes except those of the commit
  TestTree tree(options);
  tree.put("other", "other");
  const auto file = tree.create("f");
  const InodeNumber inode = file->inode();
  // Too much content for the commit to leave in memory.
  file->write(0, bytes_of(pattern(100'000)), false);
  tree.names().sync();
  tree.rename("other", "f");
  std::thread opener;
  int code = 0;
  std::string found;
  tree.device().before_write([&](std::uint64_t, ConstByteSpan) {
    if (opener.joinable()) return;
    opener = std::thread([&] {
      code = errno_of([&] {
        const ScopedFile reader(tree.names().open(inode, {.read = true}));
        found = TestTree::read_all(*reader);
      });
    });
  });
  // Prevents the rest of the close from running before the open.
  tree.names().events().committed.set([&](InodeNumber) {
    if (opener.joinable()) opener.join();
  });
  file->close();
  tree.device().before_write(nullptr);
  EXPECT_EQ(code, ESTALE) << "found '" << found << "'";
}

// As editors and rsync save files: write a temporary file, rename it over the old one.
TEST(WriteOnce, RenamedOverAnotherBeforeItsCommit) {
  NamespaceOptions options;
  TestTree tree(options);
  tree.put("target", "old");
  const auto used = tree.used_zones();
  const auto file = tree.create("temporary");
  file->write(0, bytes_of("new"), false);
  tree.rename("temporary", "target");
  tree.names().sync();
  {
    TestTree crashed(std::make_shared<Media>(*tree.media()), {});
    EXPECT_EQ(crashed.list(""), std::vector<std::string>{"target"});
    EXPECT_EQ(crashed.get("target"), "old");
  }
  file->close();
  EXPECT_EQ(tree.get("target"), "new");
  EXPECT_EQ(tree.used_zones(), used);
  tree.remount();
  EXPECT_EQ(tree.get("target"), "new");
  EXPECT_EQ(tree.list(""), std::vector<std::string>{"target"});
}

TEST(WriteOnce, UnlinkingAPendingFileTakesWhatItReplacedAlong) {
  TestTree tree;
  const auto used = tree.used_zones();
  tree.put("target", "old");
  const auto file = tree.create("temporary");
  file->write(0, bytes_of("new"), false);
  tree.rename("temporary", "target");
  tree.unlink("target");
  file->close();
  EXPECT_TRUE(tree.list("").empty());
  EXPECT_EQ(tree.used_zones(), used);
  tree.remount();
  EXPECT_TRUE(tree.list("").empty());
}

TEST(WriteOnce, PendingFilesChaseEachOther) {
  TestTree tree;
  tree.put("target", "old");
  const auto first = tree.create("first");
  const auto second = tree.create("second");
  first->write(0, bytes_of("1"), false);
  second->write(0, bytes_of("2"), false);
  tree.rename("first", "target");
  tree.rename("second", "target");
  tree.rename("target", "moved");
  EXPECT_EQ(tree.list(""), std::vector<std::string>{"moved"});
  tree.names().sync();
  {
    TestTree crashed(std::make_shared<Media>(*tree.media()), {});
    EXPECT_TRUE(crashed.list("").empty());
  }
  first->close();
  second->close();
  EXPECT_EQ(tree.get("moved"), "2");
  tree.remount();
  EXPECT_EQ(tree.list(""), std::vector<std::string>{"moved"});
  EXPECT_EQ(tree.get("moved"), "2");
}

TEST(WriteOnce, ACommittedFileRenamedOverAPendingOne) {
  TestTree tree;
  tree.put("target", "old");
  tree.put("other", "other");
  const auto file = tree.create("temporary");
  file->write(0, bytes_of("new"), false);
  tree.rename("temporary", "target");
  tree.rename("other", "target");
  file->close();
  EXPECT_EQ(tree.get("target"), "other");
  tree.remount();
  EXPECT_EQ(tree.list(""), std::vector<std::string>{"target"});
  EXPECT_EQ(tree.get("target"), "other");
}

TEST(WriteOnce, AFailedCommitVanishesAndRestoresWhatItReplaced) {
  TestTree tree;
  tree.put("target", "old");
  std::atomic<InodeNumber> rolled_back = 0;
  tree.names().events().create_failed.set(
      [&](InodeNumber, const std::string&, InodeNumber inode) { rolled_back = inode; });
  const auto file = tree.create("temporary");
  const InodeNumber inode = file->inode();
  int code = 0;
  std::uint64_t offset = 0;
  // More than the capacity of the pool.
  for (; code == 0; offset += kZoneSize) {
    code = errno_of([&] { file->write(offset, bytes_of(pattern(kZoneSize)), false); });
  }
  EXPECT_EQ(code, ENOSPC);
  EXPECT_EQ(errno_of([&] { file->flush(); }), ENOSPC);
  tree.rename("temporary", "target");
  file->close();
  EXPECT_EQ(rolled_back, inode);
  EXPECT_EQ(tree.list(""), std::vector<std::string>{"target"});
  EXPECT_EQ(tree.get("target"), "old");
  // No zone of it is left in use: as much fits as before.
  tree.put("again", pattern(offset / 2));
  tree.remount();
  EXPECT_EQ(tree.get("target"), "old");
}

TEST(WriteOnce, ManyWritersOfOneFile) {
  TestTree tree;
  const std::string text = pattern(8 * kZoneSize);
  const auto file = tree.create("f");
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t piece = t; piece * 5000 < text.size(); piece += 4) {
        file->write(piece * 5000, bytes_of(std::string_view(text).substr(piece * 5000, 5000)),
                    false);
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  file->close();
  EXPECT_EQ(tree.get("f"), text);
}

}  // namespace
}  // namespace mpool::test

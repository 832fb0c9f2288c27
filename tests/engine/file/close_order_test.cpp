// The commit of a file comes where a descriptor was closed, whenever its close() arrives.
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/names/flushed_file.h"
#include "tests/engine/names/support.h"

namespace mpool {
namespace {

using test::bytes_of;
using test::errno_of;
using test::FlushedFile;
using test::get_after_crash;
using test::kZoneSize;
using test::lazy;
using test::Media;
using test::pattern;
using test::TestTree;
using testing::ElementsAre;

// The names that a mount would find now.
std::vector<std::string> names_after_crash(TestTree& tree) {
  TestTree crashed(std::make_shared<Media>(*tree.media()), {});
  return crashed.list("");
}
// Sizes of which the first is committed by close(Blocking::forbidden), the others by close().
const std::vector<std::size_t> kSizes{100, 3 * kZoneSize};

TEST(CloseOrder, ABatchContainsTheCloseThatWasOnItsWay) {
  for (const std::size_t size : kSizes) {
    TestTree tree(lazy());
    FlushedFile file(tree, "f", pattern(size));
    tree.mkdir("d");
    tree.names().events().catch_up.set([&] { file.arrive(); });
    tree.names().sync();
    tree.names().events().catch_up.set(nullptr);
    EXPECT_EQ(get_after_crash(tree, "f"), pattern(size));
    EXPECT_THAT(names_after_crash(tree), ElementsAre("f", "d"));
  }
}

// What a crash leaves is a prefix of the changes: the file that was closed first comes first. The
// batch ends inside a large record behind it.
TEST(CloseOrder, TheCommitPrecedesWhatFollowedTheFlush) {
  for (const std::size_t size : kSizes) {
    TestTree tree(lazy());
    tree.names().sync();
    FlushedFile file(tree, "f", pattern(size));
    tree.mkdir("d");
    file.close();
    std::vector<std::vector<std::string>> seen;
    tree.device().before_write(
        [&](std::uint64_t, ConstByteSpan) { seen.push_back(names_after_crash(tree)); });
    tree.names().sync();
    tree.device().before_write(nullptr);
    seen.push_back(names_after_crash(tree));
    for (const auto& names : seen) {
      EXPECT_TRUE(names.empty() || names.front() == "f");
    }
    EXPECT_THAT(seen.back(), ElementsAre("f", "d"));
  }
}

TEST(CloseOrder, ACloseThatIsNotOnItsWayDelaysNothing) {
  TestTree tree(lazy());
  FlushedFile file(tree, "f", "text");
  tree.mkdir("d");
  unsigned asked = 0;
  tree.names().events().catch_up.set([&] { ++asked; });
  tree.names().sync();
  EXPECT_EQ(asked, 1u);
  EXPECT_THAT(names_after_crash(tree), ElementsAre("d"));
  // Another duplicate, closed later.
  tree.mkdir("e");
  file.close();
  tree.names().sync();
  EXPECT_EQ(asked, 1u) << "nothing is on its way any more";
  tree.names().events().catch_up.set(nullptr);
  EXPECT_THAT(names_after_crash(tree), testing::UnorderedElementsAre("d", "e", "f"));
}

TEST(CloseOrder, NobodyIsAskedWithoutAFlush) {
  TestTree tree(lazy());
  tree.names().events().catch_up.set([] { ADD_FAILURE() << "asked"; });
  const auto file = tree.create("f");
  file->write(0, bytes_of("text"), false);
  tree.mkdir("d");
  tree.names().sync();
  file->flush();
  file->write(4, bytes_of("more"), false);  // it was no last close
  tree.mkdir("e");
  tree.names().sync();
  file->close();
  EXPECT_EQ(tree.get("f"), "textmore");
  tree.names().events().catch_up.set(nullptr);
}

TEST(CloseOrder, WithSeveralWritingHandlesNoneIsTheLast) {
  TestTree tree(lazy());
  tree.names().events().catch_up.set([] { ADD_FAILURE() << "asked"; });
  const auto one = tree.create("f");
  const auto two = tree.open("f", {.write = true});
  one->write(0, bytes_of("text"), false);
  one->flush();
  tree.mkdir("d");
  tree.names().sync();
  one->close();
  tree.names().sync();
  EXPECT_THAT(names_after_crash(tree), ElementsAre("d"));
  two->close();
  tree.names().events().catch_up.set(nullptr);
  tree.names().sync();
  EXPECT_EQ(get_after_crash(tree, "f"), "text");
}

TEST(CloseOrder, OpenAndStatSeeTheCloseThatWasOnItsWay) {
  for (const std::size_t size : kSizes) {
    TestTree tree;
    FlushedFile file(tree, "f", pattern(size));
    tree.names().events().catch_up.set([&] { file.arrive(); });
    const auto reader = tree.open("f", {.read = true});
    EXPECT_TRUE(reader->cacheable());
    EXPECT_TRUE(tree.stat("f").committed);
    EXPECT_EQ(TestTree::read_all(*reader), pattern(size));
    reader->close();
    tree.names().events().catch_up.set(nullptr);
  }
}

// Each change of a file comes after its commit, so that after a crash it is not there without the
// content.
TEST(CloseOrder, ChangesOfTheFileFollowItsCommit) {
  const std::vector<std::function<void(TestTree&)>> changes{
      [](TestTree& tree) { tree.rename("f", "g"); },
      [](TestTree& tree) {
        tree.put("g", "old");
        tree.rename("f", "g", RenameMode::exchange);
      },
      [](TestTree& tree) { tree.names().link(tree.stat("f").inode, kRootInode, "g"); },
      [](TestTree& tree) {
        tree.names().set_xattr(tree.stat("f").inode, "user.a", "b", 0);
        tree.rename("f", "g");
      },
      [](TestTree& tree) {
        AttributeChange change;
        change.mode = 0600;
        tree.names().set_attributes(tree.stat("f").inode, change);
        tree.rename("f", "g");
      }};
  for (const bool arrives : {true, false}) {
    for (const auto& make_change : changes) {
      TestTree tree(lazy());
      FlushedFile file(tree, "f", "text");
      tree.mkdir("d");
      if (arrives) tree.names().events().catch_up.set([&] { file.arrive(); });
      make_change(tree);
      tree.mkdir("e");
      tree.names().events().catch_up.set(nullptr);
      file.close();
      EXPECT_EQ(tree.get("g"), "text");
      tree.names().sync();
      EXPECT_EQ(tree.get("g"), "text");
      EXPECT_EQ(get_after_crash(tree, "g"), "text");
    }
  }
}

TEST(CloseOrder, ARemovedFileIsGone) {
  for (const bool arrives : {true, false}) {
    TestTree tree(lazy());
    const std::uint32_t used = tree.used_zones();
    FlushedFile file(tree, "f", pattern(2 * kZoneSize));
    tree.mkdir("d");
    if (arrives) file.arrive();
    tree.unlink("f");
    file.close();
    EXPECT_EQ(tree.used_zones(), used);
    EXPECT_THAT(names_after_crash(tree), ElementsAre("d"));
  }
}

TEST(CloseOrder, AReferenceKeepsAFileThatIsRemovedBeforeItsCloseArrives) {
  for (const std::size_t size : kSizes) {
    TestTree tree(lazy());
    FlushedFile file(tree, "f", pattern(size));
    InodeNumber inode = file->inode();
    tree.names().ref({&inode, 1});
    tree.names().events().catch_up.set([&] { file.arrive(); });
    tree.unlink("f");
    tree.names().events().catch_up.set(nullptr);
    file.close();
    EXPECT_EQ(tree.names().attributes(inode).links, 0u);
    const auto reader = tree.names().open(inode, {.read = true});
    EXPECT_TRUE(TestTree::read_all(*reader) == pattern(size));
    reader->close();
    const InodeReferences last{.inode = inode, .count = 1};
    tree.names().unref({&last, 1});
    EXPECT_EQ(errno_of([&] { tree.names().attributes(inode); }), ESTALE);
  }
}

// Whether the file is on the media already, by an fsync, makes no difference.
TEST(CloseOrder, RemovingAFileThatIsBeingWrittenWouldBlock) {
  for (const bool synced : {false, true}) {
    TestTree tree(lazy());
    const auto file = tree.create("f");
    file->write(0, bytes_of(pattern(kZoneSize)), false);
    if (synced) file->fsync();
    EXPECT_FALSE(tree.names().unlink(kRootInode, "f", Blocking::forbidden)) << synced;
    file->flush();
    EXPECT_FALSE(tree.names().unlink(kRootInode, "f", Blocking::forbidden)) << synced;
    file->close();
    tree.names().sync();
    EXPECT_TRUE(tree.names().unlink(kRootInode, "f", Blocking::forbidden)) << synced;
  }
}

TEST(CloseOrder, AReplacedFileIsGoneWithTheCommit) {
  TestTree tree(lazy());
  tree.put("target", "old");
  tree.names().sync();
  const auto file = tree.create("new");
  file->write(0, bytes_of("text"), false);
  tree.rename("new", "target");
  file->flush();
  tree.mkdir("d");
  file->close();
  tree.names().sync();
  EXPECT_EQ(get_after_crash(tree, "target"), "text");
}

TEST(CloseOrder, WhatAFsyncRecordedIsCompletedAtTheClose) {
  TestTree tree(lazy());
  const auto file = tree.create("f");
  file->write(0, bytes_of("text"), false);
  file->fsync();
  file->write(4, bytes_of("more"), false);
  file->flush();
  tree.mkdir("d");
  file->close();
  tree.names().sync();
  EXPECT_EQ(get_after_crash(tree, "f"), "textmore");
}

// The commits of files that are being closed need room that only batches make: neither waits for
// the other.
TEST(CloseOrder, ClosesWithoutRoomForTheirRecords) {
  constexpr int kFiles = 8;
  TestTree tree(lazy(), TestTree::without_growth(kFiles));
  std::vector<std::unique_ptr<FlushedFile>> files;
  for (int i = 0; i < kFiles; ++i)
    files.push_back(std::make_unique<FlushedFile>(tree, "f" + std::to_string(i), "text"));
  // Garbage, so that a compaction must come first.
  const auto fill = [&] {
    tree.mkdir("passing");
    tree.names().remove_directory(kRootInode, "passing");
  };
  for (int i = 0; i < 1000; ++i)
    fill();
  for (const auto& file : files)
    file->arrive();
  for (int i = 0; i < 1000; ++i)
    fill();
  files.clear();
  tree.names().sync();
  EXPECT_EQ(tree.list("").size(), static_cast<std::size_t>(kFiles));
}

TEST(CloseOrder, ClosesWithoutRoomForTheirContent) {
  constexpr int kFiles = 4;
  TestTree tree(lazy(), TestTree::without_growth(kFiles));
  tree.put("old", pattern(kFiles * kZoneSize));
  tree.names().sync();
  tree.unlink("old");  // its zones are free after the next batch
  std::vector<std::unique_ptr<FlushedFile>> files;
  for (int i = 0; i < kFiles; ++i) {
    files.push_back(
        std::make_unique<FlushedFile>(tree, "f" + std::to_string(i), pattern(kZoneSize)));
    tree.mkdir("d" + std::to_string(i));
  }
  for (const auto& file : files)
    file->arrive();
  files.clear();
  tree.names().sync();
  for (int i = 0; i < kFiles; ++i)
    EXPECT_EQ(tree.get("f" + std::to_string(i)), pattern(kZoneSize));
}

TEST(CloseOrder, ManyClosesBesideChanges) {
  TestTree tree({.commit_interval = std::chrono::milliseconds(1)});
  std::mutex mutex;
  std::vector<FlushedFile*> on_the_way;
  tree.names().events().catch_up.set([&] {
    const std::lock_guard lock(mutex);
    for (FlushedFile* const file : std::exchange(on_the_way, {}))
      file->arrive();
  });
  constexpr int kFiles = 300;
  std::atomic<bool> ended = false;
  std::thread changer([&] {
    for (int i = 0; !ended; ++i) {
      const std::string name = "d" + std::to_string(i);
      tree.mkdir(name);
      if (i % 16 == 0) tree.names().sync();
      tree.names().remove_directory(kRootInode, name);
    }
  });
  for (int i = 0; i < kFiles; ++i) {
    FlushedFile file(tree, "f" + std::to_string(i), pattern(i % 7 == 0 ? 2 * kZoneSize : 100));
    {
      const std::lock_guard lock(mutex);
      on_the_way.push_back(&file);
    }
    if (i % 3 == 0) tree.rename("f" + std::to_string(i), "g" + std::to_string(i));
    const std::lock_guard lock(mutex);
    std::erase(on_the_way, &file);
  }
  ended = true;
  changer.join();
  tree.names().events().catch_up.set(nullptr);
  tree.names().sync();
  const auto all = tree.dump();
  EXPECT_EQ(all.size(), static_cast<std::size_t>(kFiles));
  tree.remount();
  EXPECT_EQ(tree.dump(), all);
}

}  // namespace
}  // namespace mpool

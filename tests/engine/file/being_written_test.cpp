// Write-once files before their commit: read, made durable, named and cut by any handle.
#include <atomic>
#include <cerrno>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"

namespace mpool {
namespace {

using test::bytes_of;
using test::errno_of;
using test::get_after_crash;
using test::kZoneSize;
using test::Media;
using test::pattern;
using test::TestTree;

// The state that a mount would find now.
std::map<std::string, std::string> dump_after_crash(TestTree& tree) {
  TestTree crashed(std::make_shared<Media>(*tree.media()), {});
  return crashed.dump();
}

TEST(BeingWritten, IsReadByAnyHandle) {
  TestTree tree;
  const std::string text = pattern(3 * kZoneSize + 99);
  const auto file = tree.create("f");
  const auto reader = tree.open("f", {.read = true});
  EXPECT_EQ(TestTree::read_all(*reader), "");
  file->write(10, bytes_of(std::string_view(text).substr(10, 50)), false);
  EXPECT_EQ(TestTree::read_all(*reader), std::string(10, '\0') + text.substr(10, 50));
  file->write(0, bytes_of(text), false);
  EXPECT_EQ(TestTree::read_all(*reader), text);
  file->fsync();
  EXPECT_EQ(TestTree::read_all(*reader), text);
  EXPECT_EQ(TestTree::read_all(*file), text);
  file->truncate(text.size() + 5);
  EXPECT_EQ(TestTree::read_all(*reader), text + std::string(5, '\0'));
  file->truncate(0);
  EXPECT_EQ(TestTree::read_all(*reader), "");
  file->write(0, bytes_of("other"), false);
  file->close();
  EXPECT_EQ(TestTree::read_all(*reader), "other");
  reader->close();
}

TEST(BeingWritten, AReadersFsyncMakesItDurable) {
  TestTree tree;
  const std::string text = pattern(2 * kZoneSize + 99);
  const auto file = tree.create("f");
  const auto reader = tree.open("f", {.read = true});
  file->write(0, bytes_of(text), false);
  reader->fsync();
  EXPECT_EQ(get_after_crash(tree, "f"), text);
  file->write(text.size(), bytes_of("more"), false);
  reader->fsync();
  EXPECT_EQ(get_after_crash(tree, "f"), text + "more");
  file->close();
  reader->fsync();
  reader->close();
}

TEST(BeingWritten, AFsyncMeetsTheCommit) {
  TestTree tree;
  for (int i = 0; i < 200; ++i) {
    const std::string name = "f" + std::to_string(i);
    const auto file = tree.create(name);
    file->write(0, bytes_of(name), false);
    const auto reader = tree.open(name, {.read = true});
    std::thread syncer([&] { reader->fsync(); });
    file->close();
    syncer.join();
    EXPECT_EQ(TestTree::read_all(*reader), name);
    reader->close();
    if (i % 50 == 0) {
      EXPECT_EQ(get_after_crash(tree, name), name);
    }
  }
}

TEST(DeclaredLength, SealsNothing) {
  for (const bool synced : {false, true}) {
    TestTree tree;
    {
      const test::ScopedFile file(tree.create("f"));
      file->truncate(3 * kZoneSize + 1);
      if (synced) file->fsync();
    }
    for (int round = 0; round < 2; ++round) {
      EXPECT_EQ(tree.stat("f").kind, FileKind::empty);
      EXPECT_EQ(tree.get("f"), std::string(3 * kZoneSize + 1, '\0'));
      tree.remount();
    }
    {
      const test::ScopedFile file(tree.open("f", {.write = true}));
      file->write(5, bytes_of("data"), false);
    }
    std::string expected(3 * kZoneSize + 1, '\0');
    expected.replace(5, 4, "data");
    EXPECT_EQ(tree.get("f"), expected);
    tree.remount();
    EXPECT_EQ(tree.get("f"), expected);
    EXPECT_EQ(errno_of([&] { tree.open("f", {.write = true}); }), EACCES);
  }
}

TEST(DeclaredLength, OTruncForgetsIt) {
  TestTree tree;
  tree.put("f", "");
  tree.names().truncate(tree.stat("f").inode, 100'000);
  EXPECT_EQ(tree.stat("f").size, 100'000u);
  tree.names().truncate(tree.stat("f").inode, 500);
  EXPECT_EQ(tree.stat("f").size, 500u);
  {
    const test::ScopedFile file(tree.open("f", {.write = true, .truncate = true}));
    file->write(0, bytes_of("data"), false);
  }
  EXPECT_EQ(tree.get("f"), "data");
  tree.remount();
  EXPECT_EQ(tree.get("f"), "data");
}

TEST(DeclaredLength, AppendsComeBehindIt) {
  TestTree tree;
  tree.put("f", "");
  tree.names().truncate(tree.stat("f").inode, 1000);
  {
    const test::ScopedFile file(tree.open("f", {.write = true, .append = true}));
    file->write(0, bytes_of("end"), true);
  }
  EXPECT_EQ(tree.get("f"), std::string(1000, '\0') + "end");
}

TEST(ShorterLength, OfWhatAFsyncRecorded) {
  TestTree tree;
  const std::string text = pattern(4 * kZoneSize);
  const auto before = tree.used_zones();
  const auto file = tree.create("f");
  file->write(0, bytes_of(text), false);
  file->fsync();
  file->truncate(kZoneSize + 5000);
  EXPECT_EQ(tree.stat("f").size, kZoneSize + 5000);
  EXPECT_EQ(TestTree::read_all(*file), text.substr(0, kZoneSize + 5000));
  EXPECT_EQ(errno_of([&] { file->write(2 * kZoneSize, bytes_of("x"), false); }), EINVAL);
  file->write(kZoneSize + 100'000 + 4 * kZoneSize, bytes_of("end"), false);
  std::string expected = text.substr(0, kZoneSize + 5000);
  expected.resize(5 * kZoneSize + 100'000, '\0');
  expected += "end";
  EXPECT_EQ(TestTree::read_all(*file), expected);
  file->close();
  EXPECT_EQ(tree.get("f"), expected);
  EXPECT_EQ(tree.used_zones(), before + 3);
  tree.remount();
  EXPECT_EQ(tree.get("f"), expected);
}

TEST(Links, OfAFileBeingWritten) {
  TestTree tree;
  const std::string text = pattern(2 * kZoneSize);
  const auto file = tree.create("a");
  file->write(0, bytes_of(text), false);
  EXPECT_EQ(tree.names().link(file->inode(), kRootInode, "b").links, 2u);
  EXPECT_EQ(errno_of([&] { tree.names().link(file->inode(), kRootInode, "b"); }), EEXIST);
  file->write(text.size(), bytes_of("more"), false);
  tree.unlink("a");
  tree.rename("b", "c");
  file->close();
  EXPECT_EQ(tree.get("c"), text + "more");
  EXPECT_EQ(tree.list(""), std::vector<std::string>{"c"});
  tree.names().sync();
  EXPECT_EQ(dump_after_crash(tree), tree.dump());
}

TEST(Links, BothNamesGoBeforeTheCommit) {
  TestTree tree;
  const auto before = tree.used_zones();
  const auto file = tree.create("a");
  file->write(0, bytes_of("text"), false);
  tree.names().link(file->inode(), kRootInode, "b");
  tree.unlink("a");
  tree.unlink("b");
  EXPECT_EQ(TestTree::read_all(*file), "text");
  file->close();
  EXPECT_TRUE(tree.list("").empty());
  EXPECT_EQ(tree.used_zones(), before);
}

TEST(Renames, ExchangeOfAFileBeingWritten) {
  TestTree tree;
  tree.put("old", "old");
  const auto file = tree.create("new");
  const auto other = tree.create("other");
  file->write(0, bytes_of("new"), false);
  tree.rename("new", "old", RenameMode::exchange);
  tree.rename("old", "other", RenameMode::exchange);
  file->write(3, bytes_of("er"), false);
  other->close();
  file->close();
  EXPECT_EQ(tree.get("other"), "newer");
  EXPECT_EQ(tree.get("new"), "old");
  EXPECT_EQ(tree.get("old"), "");
  tree.names().sync();
  EXPECT_EQ(dump_after_crash(tree), tree.dump());
}

TEST(Allocation, IsThereUntilTheClose) {
  TestTree tree;
  const auto before = tree.used_zones();
  const auto free_before = tree.names().space(kRootInode).available;
  const auto file = tree.create("f");
  file->allocate(0, 100 * kZoneSize, LengthChange::extend);
  EXPECT_EQ(tree.stat("f").size, 100 * kZoneSize);
  EXPECT_EQ(tree.names().space(kRootInode).available, free_before - 100);
  file->allocate(0, 110 * kZoneSize, LengthChange::keep);
  EXPECT_EQ(tree.stat("f").size, 100 * kZoneSize);
  EXPECT_EQ(errno_of([&] { file->allocate(0, 1ull << 40, LengthChange::extend); }), ENOSPC);
  EXPECT_EQ(errno_of([&] { file->allocate(0, 511 * kZoneSize, LengthChange::extend); }), ENOSPC);
  file->write(0, bytes_of("text"), false);
  file->close();
  EXPECT_EQ(tree.used_zones(), before + 1);
  EXPECT_EQ(tree.stat("f").size, 100 * kZoneSize);
}

// Readers concurrent with a writer that syncs, cuts and restarts never see the earlier content of
// zones.
TEST(BeingWritten, ReadersBesideEverythingAWriterDoes) {
  TestTree tree;
  const std::string secret(kZoneSize, '\x7f');
  for (int i = 0; i < 100; ++i)
    tree.put("old" + std::to_string(i), secret);
  for (int i = 0; i < 100; ++i)
    tree.unlink("old" + std::to_string(i));
  tree.names().sync();
  const auto file = tree.create("f");
  std::atomic<bool> done = false;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> readers;
  for (int t = 0; t < 2; ++t) {
    readers.emplace_back([&] {
      const auto reader = tree.open("f", {.read = true});
      while (!done) {
        for (const char c : TestTree::read_all(*reader)) {
          if (c != '\0' && c != 'x') ++wrong;
        }
      }
      reader->close();
    });
  }
  std::mt19937 random(5);
  std::uint64_t end = 0;
  for (int step = 0; step < 400; ++step) {
    const std::string data(1 + random() % 30'000, 'x');
    switch (random() % 12) {
      case 0:
        file->fsync();
        break;
      case 1:
        file->flush();
        break;
      case 2:
        file->truncate(0);
        end = 0;
        break;
      case 3:
        file->truncate(end - end / 4 + 1);
        break;
      default:
        file->write(end, bytes_of(data), false);
        end += data.size() + random() % 5000;
    }
  }
  file->close();
  done = true;
  for (auto& reader : readers)
    reader.join();
  EXPECT_EQ(wrong, 0);
}

TEST(BeingWritten, ATruncationIsLaterThanTheWritesBeforeIt) {
  for (const std::uint64_t length : {0, 2}) {
    TestTree tree;
    const auto file = tree.create("f");
    file->write(0, bytes_of("text"), false);
    const std::timespec written = tree.stat("f").mtime;
    file->truncate(length);
    if (length == 0) file->write(0, bytes_of("more"), false);
    file->close();
    const std::timespec committed = tree.stat("f").mtime;
    EXPECT_TRUE(std::pair(committed.tv_sec, committed.tv_nsec) >
                std::pair(written.tv_sec, written.tv_nsec));
  }
}

TEST(BeingWritten, TheCommitKeepsTheTimeOfTheLastWrite) {
  TestTree tree;
  const auto same = [](const std::timespec& a, const std::timespec& b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
  };
  const auto file = tree.create("f");
  const Attributes created = tree.stat("f");
  file->write(0, bytes_of("text"), false);
  const Attributes written = tree.stat("f");
  EXPECT_FALSE(same(written.mtime, created.mtime));
  AttributeChange change;
  change.mode = 0600;
  tree.names().set_attributes(written.inode, change);
  const Attributes changed = tree.stat("f");
  EXPECT_TRUE(same(changed.mtime, written.mtime));
  EXPECT_FALSE(same(changed.ctime, written.ctime));
  file->close();
  for (int mounted = 0; mounted < 2; ++mounted) {
    const Attributes committed = tree.stat("f");
    EXPECT_TRUE(same(committed.mtime, written.mtime));
    EXPECT_TRUE(same(committed.ctime, changed.ctime));
    tree.remount();
  }
}

}  // namespace
}  // namespace mpool

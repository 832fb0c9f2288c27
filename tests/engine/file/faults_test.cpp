// Failing devices, lack of space, and the content that a failure must not affect.
#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/xattr.h>

#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

using Strings = std::vector<std::string>;

std::map<std::string, std::string> after_crash(TestTree& tree) {
  return TestTree(std::make_shared<Media>(*tree.media()), {}).dump();
}

TEST(Faults, ADeviceThatFailsWakesWhoeverWaits) {
  for (int healthy_writes = 0; healthy_writes < 40; healthy_writes += 3) {
    SCOPED_TRACE(healthy_writes);
    TestTree tree(lazy());
    tree.put("before", "text");
    tree.append("log", "text");
    tree.names().sync();
    std::atomic<int> left = healthy_writes;
    tree.device().before_write([&](std::uint64_t, ConstByteSpan) {
      if (left-- <= 0) raise(EIO, "memory", "write made to fail");
    });
    std::atomic<int> failed = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        int code = 0;
        for (int i = 0; code == 0; ++i) {
          const std::string name = fmt::format("f{}-{}", t, i);
          code = errno_of([&] {
            if (t == 0) return tree.names().sync();
            if (t == 1) return tree.append("log", pattern(3000));
            const auto file = tree.create(name);
            const int written = errno_of([&] {
              file->write(0, bytes_of(pattern(5000)), false);
              file->fsync();
            });
            file->close();
            if (written != 0) raise(written, "test", "fsync failed");
          });
        }
        EXPECT_EQ(code, EIO);
        ++failed;
      });
    }
    for (std::thread& thread : threads)
      thread.join();
    EXPECT_EQ(failed, 4);
    EXPECT_EQ(errno_of([&] {
                tree.mkdir("more");
                tree.names().sync();
              }),
              EIO);
    EXPECT_EQ(tree.get("before"), "text");
    tree.device().before_write(nullptr);
    tree.remount();
    EXPECT_EQ(tree.get("before"), "text");
    EXPECT_TRUE(tree.get("log").starts_with("text"));
  }
}

// Sessions with deletions only (the last close of files without a name) use up no room.
TEST(Faults, ClosingUnlinkedFilesTakesNoRoomOfTheRootMdc) {
  TestTree tree({}, {.zones = 512, .root_capacity = kZoneSize});
  for (int i = 0; i < 1500; ++i) {
    tree.put("f", "");
    auto file = tree.open("f", {.write = true});
    file->write(0, bytes_of("text"), false);
    file->close();
    file = tree.open("f", {.read = true});
    tree.unlink("f");
    tree.names().sync();
    file->close();
    tree.names().sync();
  }
  EXPECT_TRUE(tree.list("").empty());
}

TEST(Faults, AFullRootMdcStaysFullUntilSomethingIsDeleted) {
  TestTree tree({}, TestTree::without_growth());
  int made = 0;
  const auto make = [&] {
    return errno_of([&] { tree.mkdir("directory-" + std::to_string(made)); });
  };
  while (make() == 0)
    ++made;
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(make(), ENOSPC) << i;
  for (int i = 0; i < 80; ++i) {
    tree.names().remove_directory(kRootInode, "directory-" + std::to_string(i));
  }
  for (int i = 0; i < 10; ++i, ++made)
    EXPECT_EQ(make(), 0) << i;
}

// Makes as many extents as there are pieces with gaps between them.
void write_pieces(OpenFile& file, int pieces) {
  for (int i = 0; i < pieces; ++i)
    file.write(std::uint64_t{2} * i * kPageSize, bytes_of("text"), false);
}

TEST(Faults, AFileWhoseContentHasNoRoomInTheRootMdcFailsItsCommitAlone) {
  constexpr int kPieces = 400;
  TestTree tree({}, TestTree::without_growth(52));
  tree.put("target", "old");
  const auto file = tree.create("f");
  write_pieces(*file, kPieces);
  tree.rename("f", "target");
  for (int i = 0; errno_of([&] { tree.mkdir("directory-" + std::to_string(i)); }) == 0; ++i) {
  }
  EXPECT_EQ(errno_of([&] { file->fsync(); }), ENOSPC);
  EXPECT_EQ(errno_of([&] { file->flush(); }), ENOSPC);
  file->close();
  EXPECT_EQ(tree.get("target"), "old");
  tree.names().remove_directory(kRootInode, "directory-0");
  tree.names().remove_directory(kRootInode, "directory-1");
  tree.put("next", "text");
  tree.names().sync();
  tree.remount();
  EXPECT_EQ(tree.get("target"), "old");
  EXPECT_EQ(tree.get("next"), "text");
}

TEST(Faults, WhatAnFsyncLostIsNotCommittedAsZeros) {
  TestTree tree({}, TestTree::without_growth(51));
  const auto file = tree.create("f");
  constexpr int kPieces = 400;
  write_pieces(*file, kPieces);
  for (int i = 0; errno_of([&] { tree.mkdir("directory-" + std::to_string(i)); }) == 0; ++i) {
  }
  // Smaller records than a directory's.
  for (int i = 0; errno_of([&] { tree.put("file-" + std::to_string(i), ""); }) == 0; ++i) {
  }
  EXPECT_EQ(errno_of([&] { file->fsync(); }), ENOSPC);
  tree.names().remove_directory(kRootInode, "directory-0");
  for (int i = 1; i < 50; ++i) {
    tree.names().remove_directory(kRootInode, "directory-" + std::to_string(i));
  }
  file->write(std::uint64_t{2} * kPieces * kPageSize, bytes_of("tail"), false);
  EXPECT_EQ(errno_of([&] { file->flush(); }), ENOSPC);
  file->close();
  EXPECT_EQ(errno_of([&] { tree.stat("f"); }), ENOENT);
}

TEST(Faults, TruncationForgetsAlsoWhatWasSynced) {
  TestTree tree(lazy());
  const auto used = tree.used_zones();
  const auto file = tree.create("f");
  file->write(0, bytes_of(pattern(3 * kZoneSize)), false);
  file->fsync();
  file->truncate(0);
  EXPECT_EQ(tree.names().attributes(file->inode()).size, 0u);
  file->write(0, bytes_of("new"), false);
  file->close();
  EXPECT_EQ(tree.get("f"), "new");
  EXPECT_EQ(tree.used_zones(), used + 1);
  tree.remount();
  EXPECT_EQ(tree.get("f"), "new");
  EXPECT_EQ(tree.used_zones(), used + 1);
}

TEST(Faults, FsyncOfAReadingHandleMakesDurableWhatOthersWrote) {
  TestTree tree(lazy());
  tree.put("f", "text");
  auto reader = tree.open("f", {.read = true});
  reader->fsync();
  reader->close();
  tree.append("log", "line");
  reader = tree.open("log", {.read = true});
  reader->fsync();
  reader->close();
  EXPECT_EQ(after_crash(tree), tree.dump());
}

TEST(Faults, SyncWaitsForLogsThatAnotherSyncIsAt) {
  TestTree tree(lazy(), {.zones = 1024, .root_capacity = 4 * kZoneSize});
  constexpr int kLogs = 40;
  for (int i = 0; i < kLogs; ++i)
    tree.append("log" + std::to_string(i), "");
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < kLogs; ++i)
      tree.append("log" + std::to_string(i), "line");
    std::thread other([&] { tree.names().sync(); });
    tree.names().sync();
    const auto found = after_crash(tree);
    other.join();
    ASSERT_EQ(found, tree.dump()) << round;
  }
}

// The log loses its name to a file that is being written, grows, and gets the name back.
TEST(Faults, AReplacedLogThatComesBackHasAllThatWasAppended) {
  TestTree tree(lazy());
  const auto log = tree.create("log", true);
  log->write(0, bytes_of("one"), true);
  log->fsync();
  const auto file = tree.create("temporary");
  int code = 0;
  std::uint64_t offset = 0;
  for (; code == 0; offset += kZoneSize) {
    code = errno_of([&] { file->write(offset, bytes_of(pattern(kZoneSize)), false); });
  }
  file->truncate(0);
  tree.rename("temporary", "log");
  std::string all = "one";
  for (int i = 0; i < 20; ++i) {
    log->write(0, bytes_of(pattern(9'000, i)), true);
    all += pattern(9'000, i);
  }
  log->fsync();
  {
    TestTree crashed(std::make_shared<Media>(*tree.media()), {});
    EXPECT_EQ(crashed.get("log"), all);
  }
  for (offset = 0, code = 0; code == 0; offset += kZoneSize) {
    code = errno_of([&] { file->write(offset, bytes_of(pattern(kZoneSize)), false); });
  }
  file->close();  // fails: the log is back
  EXPECT_EQ(tree.get("log"), all);
  log->close();
  tree.remount();
  EXPECT_EQ(tree.get("log"), all);
}

TEST(Faults, AWaitingReaderNeverSeesAFailedCommit) {
  TestTree tree;
  const auto file = tree.create("f");
  int code = 0;
  for (std::uint64_t offset = 0; code == 0; offset += kZoneSize) {
    code = errno_of([&] { file->write(offset, bytes_of(pattern(kZoneSize)), false); });
  }
  EXPECT_EQ(errno_of([&] { file->flush(); }), ENOSPC);
  const InodeNumber inode = file->inode();
  tree.names().events().create_failed.set([&](InodeNumber, const std::string&, InodeNumber) {
    EXPECT_EQ(errno_of([&] { tree.stat("f"); }), ENOENT);
  });
  file->close();
  EXPECT_EQ(errno_of([&] { tree.names().open(inode, {.read = true}); }), ESTALE);
}

TEST(Faults, OpenersAndTruncatersOfALogDoNotMeet) {
  TestTree tree;
  tree.append("log", "");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const auto file = tree.open("log", {.read = true, .write = true, .append = true});
      std::array<std::byte, 100> into{};
      for (int i = 0; i < 300; ++i) {
        if (t == 0) {
          file->truncate(0);
        } else if (t == 1) {
          file->read(0, into);
          tree.stat("log");
        } else {
          file->write(0, bytes_of(pattern(50)), true);
          if (i % 20 == 0) file->fsync();
        }
      }
      file->close();
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  tree.names().truncate(tree.stat("log").inode, 0);
  EXPECT_EQ(tree.stat("log").size, 0u);
  tree.mkdir("alive");
  tree.names().sync();
}

// touch(1) and shells do this; a concurrent close must not make it fail.
TEST(Faults, AnEmptyFileCanBeOpenedByManyAtOnce) {
  TestTree tree;
  tree.put("f", "");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 300; ++i) {
        const auto file = tree.open("f", {.write = true});
        file->flush();
        file->close();
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_EQ(tree.stat("f").kind, FileKind::empty);
}

TEST(Faults, DirectoriesKeepTheTimesOfFilesThatCameAndWent) {
  TestTree tree;
  tree.mkdir("d");
  tree.mkdir("e");
  const auto file = tree.create("d/f");
  tree.rename("d/f", "e/f");
  tree.unlink("e/f");
  file->close();
  const Attributes d = tree.stat("d");
  const Attributes e = tree.stat("e");
  tree.remount();
  EXPECT_EQ(tree.stat("d").mtime.tv_nsec, d.mtime.tv_nsec);
  EXPECT_EQ(tree.stat("e").mtime.tv_nsec, e.mtime.tv_nsec);
  EXPECT_EQ(tree.stat("e").ctime.tv_nsec, e.ctime.tv_nsec);
}

TEST(Faults, InodeNumbersOfFilesThatNeverWereAreNotUsedAgain) {
  TestTree tree(lazy());
  const auto file = tree.create("f");
  TestTree crashed(std::make_shared<Media>(*tree.media()), {});
  const auto first = crashed.create("g");
  EXPECT_GT(first->inode(), file->inode());
  TestTree again(std::make_shared<Media>(*crashed.media()), {});
  const auto second = again.create("h");
  EXPECT_GT(second->inode(), first->inode());
  second->close();
  first->close();
  file->close();
}

}  // namespace
}  // namespace mpool::test

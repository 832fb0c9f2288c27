// Lookups and other uses of the tree while other threads wait for the device.
#include <atomic>
#include <barrier>
#include <cerrno>
#include <chrono>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/base/aligned_buffer.h"
#include "tests/engine/names/support.h"
#include "tests/support/async_io.h"

namespace mpool::test {
namespace {

TEST(TryLookup, LookupSaysWhatLookupSays) {
  TestTree tree;
  tree.mkdir("d");
  tree.put("d/f", "text");
  const InodeNumber directory = tree.stat("d").inode;
  const LookupAnswer found =
      tree.names().lookup(directory, "f", LookupReference::none, Blocking::forbidden);
  ASSERT_TRUE(found);
  EXPECT_EQ((*found).inode, tree.stat("d/f").inode);
  EXPECT_EQ((*found).size, 4u);
  EXPECT_TRUE((*found).committed);
  const LookupAnswer absent =
      tree.names().lookup(directory, "g", LookupReference::none, Blocking::forbidden);
  EXPECT_EQ(absent.kind, LookupAnswer::Kind::absent);
  EXPECT_FALSE(absent);
  EXPECT_EQ(errno_of([&] {
              tree.names().lookup((*found).inode, "x", LookupReference::none, Blocking::forbidden);
            }),
            ENOTDIR);
  EXPECT_EQ(errno_of([&] {
              tree.names().lookup(directory, std::string(256, 'x'), LookupReference::none,
                                  Blocking::forbidden);
            }),
            ENAMETOOLONG);
  EXPECT_EQ(errno_of([&] {
              tree.names().lookup(999'999, "x", LookupReference::none, Blocking::forbidden);
            }),
            ESTALE);
  EXPECT_EQ(tree.names().attributes(directory, Blocking::forbidden)->kind, FileKind::directory);
  EXPECT_EQ(errno_of([&] { tree.names().attributes(999'999, Blocking::forbidden); }), ESTALE);
}

TEST(TryLookup, TheSizeOfALogIsKnownWithoutReadingIt) {
  TestTree tree;
  tree.append("log", "line\n");
  const auto writer = tree.create("new", true);
  EXPECT_EQ(
      (*tree.names().lookup(kRootInode, "new", LookupReference::none, Blocking::forbidden)).size,
      0u);
  writer->write(0, bytes_of("text"), true);
  EXPECT_EQ(
      (*tree.names().lookup(kRootInode, "new", LookupReference::none, Blocking::forbidden)).size,
      4u);
  EXPECT_EQ(tree.names().attributes(writer->inode(), Blocking::forbidden)->size, 4u);
  writer->close();
  tree.remount();
  const InodeNumber log = [&] {
    InodeNumber found = 0;
    tree.names().read_directory(kRootInode, 0, [&](const DirectoryEntry& entry) {
      if (entry.name == "log") found = entry.inode;
      return true;
    });
    return found;
  }();
  // Its size is recorded: the log itself is not read.
  EXPECT_EQ(
      (*tree.names().lookup(kRootInode, "log", LookupReference::none, Blocking::forbidden)).size,
      5u);
  EXPECT_EQ(tree.names().attributes(log, Blocking::forbidden)->size, 5u);
}

// Blocks reads or writes until the test releases them.
class HeldDevice : public MemoryDevice {
 public:
  explicit HeldDevice(std::shared_ptr<Media> media) : MemoryDevice("held", std::move(media)) {
    before_write([this](std::uint64_t, ConstByteSpan) { pass(holds_writes_); });
  }
  std::atomic<bool> holds_reads_ = false;
  std::atomic<bool> holds_writes_ = false;
  std::binary_semaphore reached{0};
  std::binary_semaphore go_on{0};

 protected:
  void read_impl(std::uint64_t offset, ByteSpan into) override {
    pass(holds_reads_);
    MemoryDevice::read_impl(offset, into);
  }

 private:
  void pass(std::atomic<bool>& holds) {
    if (!holds.exchange(false)) return;
    reached.release();
    go_on.acquire();
  }
};

// A tree on a device that writes only when the test permits it.
class HeldTree {
 public:
  HeldTree()
      : tree({.commit_interval = std::chrono::hours(1)}, TestTree::Sizes{},
             [this](std::shared_ptr<Media> media) {
               auto made = std::make_unique<HeldDevice>(std::move(media));
               device = made.get();
               return made;
             }) {}
  HeldDevice* device = nullptr;
  TestTree tree;
};

TEST(TryLookup, OthersDoNotWaitForALogThatIsBeingOpened) {
  HeldTree held;
  TestTree& tree = held.tree;
  tree.append("log", "line\n");
  tree.put("f", pattern(kZoneSize));
  tree.remount();
  held.device->holds_reads_ = true;
  std::thread opener([&] { EXPECT_EQ(tree.get("log"), "line\n"); });
  held.device->reached.acquire();
  EXPECT_NE(tree.names().lookup(kRootInode, "log", LookupReference::none, Blocking::forbidden).kind,
            LookupAnswer::Kind::absent);
  const LookupAnswer file =
      tree.names().lookup(kRootInode, "f", LookupReference::none, Blocking::forbidden);
  ASSERT_TRUE(file);
  EXPECT_EQ((*file).size, kZoneSize);
  held.device->go_on.release();
  opener.join();
  EXPECT_EQ(
      (*tree.names().lookup(kRootInode, "log", LookupReference::none, Blocking::forbidden)).size,
      5u);
}

TEST(TryLookup, OthersDoNotWaitForAWriteAFsyncAndACommit) {
  HeldTree held;
  TestTree& tree = held.tree;
  tree.put("f", pattern(kZoneSize));
  tree.names().sync();
  const auto reader = tree.open("f", {.read = true});
  const auto file = tree.create("new");
  put(*file, 0, pattern(kPage));
  const auto look = [&] {
    EXPECT_EQ(
        (*tree.names().lookup(kRootInode, "f", LookupReference::none, Blocking::forbidden)).size,
        kZoneSize);
    EXPECT_TRUE(tree.names().lookup(kRootInode, "new", LookupReference::none, Blocking::forbidden));
    EXPECT_TRUE(tree.names().attributes(file->inode(), Blocking::forbidden));
    EXPECT_EQ(
        tree.names().lookup(kRootInode, "none", LookupReference::none, Blocking::forbidden).kind,
        LookupAnswer::Kind::absent);
    EXPECT_TRUE(read_async(*reader, 0, kPage) == pattern(kPage));
  };
  // Too much to be held in memory.
  const AlignedBuffer data = aligned(pattern(32 * kPage));

  held.device->holds_writes_ = true;
  std::thread writer([&] { file->write(32 * kPage, data.span(), false); });
  held.device->reached.acquire();
  look();
  put(*file, 6 * kPage, pattern(kPage));
  held.device->go_on.release();
  writer.join();

  held.device->holds_writes_ = true;
  std::thread syncer([&] { file->fsync(); });
  held.device->reached.acquire();
  look();
  AsyncWrite write;
  EXPECT_EQ(file->write(9 * kPage, data.span(0, kPage), false,
                        OnRing<FileWrite>{AsyncIo::of_thread().io(), write}, Blocking::forbidden),
            IoState::would_block);
  held.device->go_on.release();
  syncer.join();

  put(*file, 12 * kPage, pattern(kPage));
  const InodeNumber inode = file->inode();
  held.device->holds_writes_ = true;
  std::thread closer([&] { file->close(); });
  held.device->reached.acquire();
  EXPECT_FALSE(tree.names().attributes(inode, Blocking::forbidden)) << "those after the commit";
  EXPECT_TRUE(tree.names().lookup(kRootInode, "f", LookupReference::none, Blocking::forbidden));
  EXPECT_TRUE(read_async(*reader, 0, kPage) == pattern(kPage));
  held.device->go_on.release();
  closer.join();
  EXPECT_TRUE(tree.names().attributes(inode).committed);
  reader->close();
}

TEST(TryLookup, OthersDoNotWaitForTheJournal) {
  HeldTree held;
  TestTree& tree = held.tree;
  tree.put("f", pattern(kZoneSize));
  tree.names().sync();
  tree.mkdir("d");
  held.device->holds_writes_ = true;
  std::thread syncer([&] { tree.names().sync(); });
  held.device->reached.acquire();
  EXPECT_TRUE(tree.names().lookup(kRootInode, "d", LookupReference::none, Blocking::forbidden));
  EXPECT_TRUE(tree.names().attributes(kRootInode, Blocking::forbidden));
  held.device->go_on.release();
  syncer.join();
}

// A reader that opened the file before its commit may meet the commit at any moment of a read. The
// commit completes while small contents are still on their way to the device.
TEST(Reads, ThatMeetTheCommitGetWhatWasWritten) {
  constexpr int kFiles = 2000;
  constexpr int kReaders = 3;
  TestTree tree;
  std::unique_ptr<OpenFile> early;
  std::string text;
  std::barrier turn(kReaders + 1);
  std::vector<std::thread> readers;
  for (int number = 0; number < kReaders; ++number) {
    readers.emplace_back([&] {
      std::string found;
      for (int i = 0; i < kFiles; ++i) {
        turn.arrive_and_wait();
        found = TestTree::read_all(*early);
        EXPECT_EQ(found, text) << "file " << i;
        turn.arrive_and_wait();
      }
    });
  }
  for (int i = 0; i < kFiles; ++i) {
    text = pattern(kPage, i);
    {
      const ScopedFile file(tree.create("f"));
      file->write(0, bytes_of(text), false);
      early = tree.open("f", {.read = true});
      turn.arrive_and_wait();
    }
    EXPECT_EQ(tree.get("f"), text) << "file " << i;
    turn.arrive_and_wait();
    early->close();
    tree.unlink("f");
  }
  for (std::thread& reader : readers)
    reader.join();
}

}  // namespace
}  // namespace mpool::test

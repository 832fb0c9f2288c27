// Requirements of kernel-native reads on the tree: the location of committed content, the moment of
// its durability, and that zones stay while a reader uses them.
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/base/aligned_buffer.h"
#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

using namespace std::chrono_literals;

// The content at the locations of the layout, read from the device.
std::string read_layout(Device& device, const FileLayout& layout) {
  std::string text(layout.size, '\0');
  for (const FileLayout::Piece& piece : layout.pieces) {
    AlignedBuffer memory(round_up(piece.length, kPageSize));
    device.read(piece.device_offset, memory.span());
    text.replace(piece.file_offset, piece.length,
                 std::string(reinterpret_cast<const char*>(memory.data()), piece.length));
  }
  return text;
}

TEST(Layout, TellsWhereTheBytesLie) {
  TestTree tree;
  const std::string text = pattern(3 * kZoneSize + 777);
  tree.put("f", text);
  tree.names().sync();
  const InodeNumber inode = tree.stat("f").inode;
  const auto layout = tree.names().layout(inode);
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->inode, inode);
  EXPECT_EQ(layout->size, text.size());
  EXPECT_EQ(layout->pieces.size(), 4u);
  EXPECT_EQ(layout->pieces[0].media_class, MediaClass::capacity);
  EXPECT_TRUE(read_layout(tree.device(), *layout) == text);
  EXPECT_EQ(tree.names().committed_files(), std::vector<InodeNumber>{inode});
}

TEST(Layout, LeavesGapsOut) {
  TestTree tree;
  const auto file = tree.create("f");
  file->write(4 * kZoneSize, bytes_of("end"), false);
  file->close();
  tree.names().sync();
  const auto layout = tree.names().layout(tree.stat("f").inode);
  ASSERT_TRUE(layout);
  ASSERT_FALSE(layout->pieces.empty());
  EXPECT_GT(layout->pieces[0].file_offset, 0u);
  EXPECT_TRUE(read_layout(tree.device(), *layout) == std::string(4 * kZoneSize, '\0') + "end");
}

TEST(Layout, OfCommittedFilesAlone) {
  TestTree tree;
  tree.mkdir("d");
  tree.put("empty", "");
  tree.append("log", "line");
  const auto file = tree.create("written");
  file->write(0, bytes_of("text"), false);
  for (const char* name : {"d", "empty", "log", "written"}) {
    EXPECT_FALSE(tree.names().layout(tree.stat(name).inode)) << name;
  }
  EXPECT_FALSE(tree.names().layout(1'000'000));
  EXPECT_TRUE(tree.names().committed_files().empty());
  file->close();
  EXPECT_FALSE(tree.names().layout(tree.stat("written").inode)) << "in memory only";
  tree.names().sync();
  EXPECT_TRUE(tree.names().layout(tree.stat("written").inode));
}

TEST(TryOpen, ReadsWhatIsCommitted) {
  TestTree tree;
  tree.put("f", "text");
  const auto file = tree.names().open(tree.stat("f").inode, {.read = true}, Blocking::forbidden);
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->cacheable());
  std::string text(4, '\0');
  EXPECT_EQ(file->read(0, {reinterpret_cast<std::byte*>(text.data()), text.size()}), 4u);
  EXPECT_EQ(text, "text");
  EXPECT_EQ(errno_of([&] { file->write(0, bytes_of("x"), false); }), EBADF);
  EXPECT_TRUE(file->close(Blocking::forbidden));
}

TEST(TryOpen, LeavesTheRestToOpen) {
  TestTree tree;
  tree.put("empty", "");
  tree.append("log", "line");
  const auto writer = tree.create("written");
  writer->write(0, bytes_of("text"), false);
  for (const char* name : {"empty", "log", "written"}) {
    EXPECT_FALSE(tree.names().open(tree.stat(name).inode, {.read = true}, Blocking::forbidden))
        << name;
  }
  EXPECT_EQ(errno_of([&] { tree.names().open(1'000'000, {.read = true}, Blocking::forbidden); }),
            ESTALE);
  writer->close();
  EXPECT_EQ(tree.get("written"), "text");
}

TEST(TryClose, LeavesDeletionToClose) {
  TestTree tree;
  tree.put("f", "text");
  tree.names().sync();
  const std::size_t objects = tree.pool().object_count();
  const auto first = tree.open("f", {.read = true});
  const auto last = tree.open("f", {.read = true});
  tree.names().unlink(kRootInode, "f");
  EXPECT_TRUE(first->close(Blocking::forbidden));
  EXPECT_FALSE(last->close(Blocking::forbidden));
  tree.names().sync();
  EXPECT_EQ(tree.pool().object_count(), objects);
  last->close();
  tree.names().sync();
  EXPECT_EQ(tree.pool().object_count(), objects - 1);
}

// Collects the inodes of Events::durable, which the engine's thread calls: a thread that waits for
// the same event may be faster.
class Told {
 public:
  explicit Told(TestTree& tree) {
    tree.names().events().durable.set([state = state_](std::span<const InodeNumber> durable) {
      const std::lock_guard lock(state->mutex);
      state->inodes.insert(durable.begin(), durable.end());
      state->changed.notify_all();
    });
  }

  // The collected inodes, once there are this many.
  std::multiset<InodeNumber> inodes(std::size_t count) const {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait_for(lock, 60s, [&] { return state_->inodes.size() >= count; });
    return state_->inodes;
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::multiset<InodeNumber> inodes;
  };
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

TEST(Durable, IsToldOnceTheRecordsAreOnTheMedia) {
  TestTree tree({.commit_interval = 1h});
  const Told told(tree);
  tree.put("f", "text");
  const InodeNumber first = tree.stat("f").inode;
  EXPECT_EQ(told.inodes(0), std::multiset<InodeNumber>{});
  const auto fsynced = tree.create("g");
  fsynced->write(0, bytes_of("text"), false);
  fsynced->fsync();
  EXPECT_EQ(told.inodes(1), std::multiset<InodeNumber>{first});
  fsynced->close();
  tree.names().sync();
  EXPECT_EQ(told.inodes(2), (std::multiset<InodeNumber>{first, tree.stat("g").inode}));
}

TEST(Durable, IsToldOfSyncedFiles) {
  TestTree tree({.sync = true});
  const Told told(tree);
  tree.put("f", "text");
  EXPECT_EQ(told.inodes(1), std::multiset<InodeNumber>{tree.stat("f").inode});
}

TEST(HoldDeletes, KeepsObjectsUntilTheEndOfTheHold) {
  TestTree tree;
  const std::size_t none = tree.pool().object_count();
  tree.put("f", pattern(2 * kZoneSize));
  tree.names().hold_deletes(true);
  tree.names().unlink(kRootInode, "f");
  tree.names().sync();
  EXPECT_EQ(tree.pool().object_count(), none + 2);
  tree.names().hold_deletes(false);
  tree.names().sync();
  EXPECT_EQ(tree.pool().object_count(), none);
  tree.put("f", "text");
  tree.names().unlink(kRootInode, "f");
  tree.names().sync();
  EXPECT_EQ(tree.pool().object_count(), none);
}

TEST(HoldDeletes, TheNextMountDeletes) {
  TestTree tree;
  const std::size_t none = tree.pool().object_count();
  tree.put("f", pattern(2 * kZoneSize));
  tree.names().hold_deletes(true);
  tree.names().unlink(kRootInode, "f");
  tree.remount();
  EXPECT_EQ(tree.pool().object_count(), none);
  EXPECT_EQ(errno_of([&] { tree.stat("f"); }), ENOENT);
}

TEST(HoldDeletes, FromOneMountToTheNext) {
  TestTree tree({.hold_deletes = true});
  const std::size_t none = tree.pool().object_count();
  tree.put("f", pattern(2 * kZoneSize));
  tree.names().unlink(kRootInode, "f");
  tree.remount();
  EXPECT_EQ(tree.pool().object_count(), none + 2);
  tree.remount();
  EXPECT_EQ(tree.pool().object_count(), none + 2);
  tree.names().hold_deletes(false);
  tree.names().sync();
  EXPECT_EQ(tree.pool().object_count(), none);
}

// A compacted root MDC has no record of the removed names.
TEST(HoldDeletes, OverACompaction) {
  TestTree tree({.hold_deletes = true});
  const std::size_t none = tree.pool().object_count();
  tree.put("f", pattern(2 * kZoneSize));
  tree.names().unlink(kRootInode, "f");
  const auto generation = [&] {
    const auto mdc = tree.pool().find(root_log_id(0));
    const auto other = tree.pool().find(root_log_id(1));
    return mdc->generation + other->generation;
  };
  const std::uint64_t before = generation();
  tree.put("g", "text");
  for (int i = 0; generation() == before; ++i) {
    ASSERT_LT(i, 100'000);
    AttributeChange change;
    change.mode = 0600;
    tree.names().set_attributes(tree.stat("g").inode, change);
  }
  tree.remount();
  EXPECT_EQ(tree.pool().object_count(), none + 3);
  tree.names().hold_deletes(false);
  tree.names().sync();
  EXPECT_EQ(tree.pool().object_count(), none + 1);
}

// The thread that ends the hold reads no more; a failure to write must not be reported to it.
TEST(HoldDeletes, EndsQuietlyAfterAFailure) {
  const auto faults = std::make_shared<SimulatedFaults>();
  TestTree tree({}, TestTree::Sizes{}, [&](std::shared_ptr<Media> media) {
    return std::make_unique<MemoryDevice>("memory", std::move(media),
                                          MemoryDevice::Options{.history = {}, .faults = faults});
  });
  const std::size_t none = tree.pool().object_count();
  tree.put("f", pattern(2 * kZoneSize));
  tree.names().hold_deletes(true);
  tree.names().unlink(kRootInode, "f");
  tree.names().sync();
  faults->arm({.target = SimulatedFaults::Target::flush, .forever = true});
  tree.mkdir("d");
  EXPECT_EQ(errno_of([&] { tree.names().sync(); }), EIO);
  EXPECT_NO_THROW(tree.names().hold_deletes(false));
  EXPECT_EQ(tree.pool().object_count(), none + 2);
  faults->disarm();
  tree.remount();
  EXPECT_EQ(tree.pool().object_count(), none);
}

TEST(NoRoom, AsksForFilesToBeClosed) {
  TestTree tree;
  const std::uint64_t free = tree.names().space(kRootInode).free;
  const std::string text = pattern((free - 1) * kZoneSize);
  tree.put("f", text);
  auto reader = tree.open("f", {.read = true});
  tree.names().unlink(kRootInode, "f");
  EXPECT_EQ(errno_of([&] { tree.put("g", pattern(4 * kZoneSize)); }), ENOSPC);
  tree.names().events().no_room.set([&] {
    if (reader) std::exchange(reader, nullptr)->close();
  });
  tree.put("h", pattern(4 * kZoneSize));
  EXPECT_TRUE(tree.get("h") == pattern(4 * kZoneSize));
  EXPECT_FALSE(reader);
}

}  // namespace
}  // namespace mpool::test

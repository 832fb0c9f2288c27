// Handlers of requests over a tree on a simulated device, called without a kernel.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <semaphore>
#include <string>
#include <string_view>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "fuse/native/native_reads.h"
#include "fuse/native/reader_watch.h"
#include "fuse/native/view_devices.h"
#include "fuse/ops/call.h"
#include "fuse/ops/operations.h"
#include "tests/engine/names/support.h"

namespace mpoolfs::test {

using mpool::Blocking;
using mpool::InodeNumber;
using mpool::kRootInode;
using mpool::test::errno_of;

inline mpool::AttributeChange to_mode(std::uint32_t mode) {
  mpool::AttributeChange change;
  change.mode = mode;
  return change;
}

inline constexpr Caller kUser{.uid = 1000, .gid = 100};
inline constexpr Caller kSuperuser{};

// What the requests of a mount work on.
struct TestMount {
  explicit TestMount(mpool::test::TestTree& tree)
      : readers(tree.pool().clock(), tree.pool().metrics()),
        native(tree.pool(), tree.names(), ViewDevices(tree.pool()), NativeChoice::off, false,
               readers, reaper, 0),
        file_system{.pool = tree.pool(),
                    .names = tree.names(),
                    .presentation = {},
                    .handles = {},
                    .notifier = &notifier,
                    .control = nullptr,
                    .native = native,
                    .readers = readers,
                    .reaper = reaper} {}

  ReaderWatch readers;
  mpool::JobScheduler jobs;
  mpool::Reaper reaper{jobs, {.percent = 100}};
  NativeReads native;
  Notifier notifier{nullptr};
  FileSystem file_system;
};

class OpsTest : public testing::Test {
 protected:
  Call call(Blocking blocking = Blocking::allowed, const Caller& caller = kUser) {
    return {.file_system = mount_->file_system, .caller = caller, .blocking = blocking};
  }
  Call reactor_call() { return call(Blocking::forbidden); }

  mpool::Namespace& names() { return tree_.names(); }
  HandleTable& handles() { return mount_->file_system.handles; }
  InodeNumber inode(const std::string& path) { return tree_.stat(path).inode; }

  // An open file as the kernel has it.
  FileArgument open_kept(const std::string& path, int flags) {
    return kept(op_open(call(), inode(path), {.flags = flags, .handle = nullptr}).value(), flags);
  }
  FileArgument create_kept(const std::string& name, int flags = O_RDWR, mode_t mode = 0644,
                           const Caller& caller = kUser) {
    return kept(op_create(call(Blocking::allowed, caller), kRootInode, name, mode,
                          {.flags = flags | O_CREAT, .handle = nullptr})
                    .value()
                    .opened,
                flags);
  }
  static FileArgument kept(Opened opened, int flags) {
    KernelHandle& handle = opened.handle();
    opened.keep();
    return {.flags = flags, .handle = &handle};
  }
  void release(const FileArgument& file) {
    const InodeNumber number = file.file().inode();
    EXPECT_EQ(op_flush(call(), number, file), Outcome::done);
    EXPECT_EQ(op_release(call(), number, file), Outcome::done);
  }

  static constexpr std::uint64_t kHeldSize = 52u << 10;  // bytes
  // Makes a file of that size, and calls `look` while its commit waits for the device.
  template <typename Look>
  void during_commit_of(const char* name, const Look& look) {
    const FileArgument file = create_kept(name);
    file.file().write(0, mpool::test::bytes_of(mpool::test::pattern(4096)), false);
    file.file().fsync();
    file.file().write(kHeldSize - 4096, mpool::test::bytes_of(mpool::test::pattern(4096)), false);
    std::binary_semaphore reached{0}, go_on{0};
    std::atomic<bool> holds = true;
    tree_.device().before_write([&](std::uint64_t, mpool::ConstByteSpan) {
      if (!holds.exchange(false)) return;
      reached.release();
      go_on.acquire();
    });
    std::thread closer([&] { release(file); });
    reached.acquire();
    look();
    go_on.release();
    closer.join();
    tree_.device().before_write(nullptr);
  }

  mpool::test::TestTree tree_{mpool::test::lazy()};
  std::optional<TestMount> mount_{std::in_place, tree_};
};

}  // namespace mpoolfs::test

// Block devices, by loop devices over unnamed files. Needs root.
#include <chrono>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "engine/io/file_device.h"
#include "engine/io/open.h"
#include "tests/engine/io/support.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kDeviceSize = 32 << 20;

class BlockDeviceTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) FAIL() << "loop devices need root: run tools/test.sh as root";
  }
};

// The errno of opening `path` in another process (0: opened).
int open_in_child(const std::string& path, OpenMode mode) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(error_of([&] { open_device(path, mode); }));
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

TEST_F(BlockDeviceTest, TellsItsProperties) {
  for (const std::uint32_t sector_size : {512u, 4096u}) {
    const LoopDevice loop(kDeviceSize, sector_size);
    const auto device = open_device(loop.path(), OpenMode::activate);
    const auto& properties = device->properties();
    EXPECT_EQ(device->name(), loop.path());
    EXPECT_EQ(properties.size, kDeviceSize);
    EXPECT_EQ(properties.logical_sector_size, sector_size);
    EXPECT_GE(properties.physical_sector_size, sector_size);
    EXPECT_GE(properties.discard_granularity, sector_size);
    EXPECT_GT(properties.discard_max, 0u);
    EXPECT_FALSE(properties.is_file);
    EXPECT_FALSE(properties.read_only);
    EXPECT_TRUE(properties.volatile_cache);
    EXPECT_EQ(properties.zoned, ZonedModel::none);
  }
}

TEST_F(BlockDeviceTest, ReadsWritesFlushesAndDiscards) {
  const LoopDevice loop(kDeviceSize);
  const auto device = open_device(loop.path(), OpenMode::activate);
  const auto data = page_pattern(1024, 1);
  device->write(4 * kPageSize, data.span());
  device->flush();
  AlignedBuffer read(data.size());
  device->read(4 * kPageSize, read.span());
  EXPECT_TRUE(same(read.span(), data.span()));

  const auto allocated = loop.allocated();
  EXPECT_GE(allocated, data.size());
  device->discard(0, kDeviceSize);
  device->flush();
  EXPECT_LT(loop.allocated(), allocated);
  device->read(4 * kPageSize, read.span());
  EXPECT_TRUE(all_zero(read.span()));
}

TEST_F(BlockDeviceTest, IsLockedAgainstOtherProcesses) {
  const LoopDevice loop(kDeviceSize);
  {
    const auto active = open_device(loop.path(), OpenMode::activate);
    EXPECT_EQ(open_in_child(loop.path(), OpenMode::activate), EBUSY);
    EXPECT_EQ(open_in_child(loop.path(), OpenMode::inspect), EBUSY);
    EXPECT_EQ(open_in_child(loop.path(), OpenMode::peek), 0);
    EXPECT_EQ(error_of([&] { open_device(loop.path(), OpenMode::activate); },
                       loop.path() + ": in use by another mpool activation or program"),
              EBUSY);
  }
  {
    const auto reader = open_device(loop.path(), OpenMode::inspect);
    EXPECT_EQ(open_in_child(loop.path(), OpenMode::inspect), 0);
    EXPECT_EQ(open_in_child(loop.path(), OpenMode::activate), EBUSY);
  }
  EXPECT_EQ(open_in_child(loop.path(), OpenMode::activate), 0);
}

TEST_F(BlockDeviceTest, IsRefusedWhileSomebodyHoldsItExclusively) {
  const LoopDevice loop(kDeviceSize);
  {
    const FileDescriptor holder(::open(loop.path().c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
    ASSERT_TRUE(holder);
    EXPECT_EQ(error_of([&] { open_device(loop.path(), OpenMode::activate); },
                       loop.path() + ": in use: mounted"),
              EBUSY);
    EXPECT_EQ(error_of([&] { open_device(loop.path(), OpenMode::inspect); }), EBUSY);
    EXPECT_EQ(error_of([&] { open_device(loop.path(), OpenMode::peek); }), 0);
  }
  EXPECT_EQ(error_of([&] { open_device(loop.path(), OpenMode::activate); }), 0);
}

TEST_F(BlockDeviceTest, IsRefusedWhileMounted) {
  const LoopDevice loop(kDeviceSize);
  run("/sbin/mke2fs -q -t ext4 " + loop.path());
  const TemporaryDirectory directory;
  {
    const TestMount mounted(loop.path(), "ext4", directory / "mounted");
    EXPECT_EQ(error_of([&] { open_device(loop.path(), OpenMode::activate); }, "in use: mounted"),
              EBUSY);
    EXPECT_EQ(error_of([&] { open_device(loop.path(), OpenMode::inspect); }, "in use: mounted"),
              EBUSY);
  }
  EXPECT_EQ(error_of([&] { open_device(loop.path(), OpenMode::activate); }), 0);
}

TEST_F(BlockDeviceTest, IsClaimedWhileActive) {
  const LoopDevice loop(kDeviceSize);
  EXPECT_EQ(try_exclusive_open(loop.path()), 0);
  {
    const auto active = open_device(loop.path(), OpenMode::activate);
    EXPECT_EQ(try_exclusive_open(loop.path()), EBUSY);
    EXPECT_EQ(active->claim(), 0);
  }
  EXPECT_EQ(try_exclusive_open(loop.path()), 0);
  const auto reader = open_device(loop.path(), OpenMode::inspect);
  EXPECT_EQ(try_exclusive_open(loop.path()), 0);
}

TEST_F(BlockDeviceTest, AnotherNodeIsTheSameDevice) {
  const LoopDevice loop(kDeviceSize);
  const TemporaryDirectory directory;
  const std::string node = directory / "node";
  struct stat status {};
  ASSERT_EQ(::stat(loop.path().c_str(), &status), 0);
  ASSERT_EQ(::mknod(node.c_str(), S_IFBLK | 0600, status.st_rdev), 0);
  const auto tolerant = [](const std::string&) { return true; };
  {
    const auto active = open_device(loop.path(), OpenMode::activate);
    active->release_claim();  // as when views claim it
    for (const OpenMode mode : {OpenMode::activate, OpenMode::inspect}) {
      EXPECT_EQ(error_of([&] { open_device(node, mode); },
                         node + ": in use by another mpool activation: process"),
                EBUSY);
      EXPECT_EQ(error_of([&] { open_device(node, mode, {.tolerate = tolerant}); }), EBUSY);
    }
    EXPECT_EQ(error_of([&] { open_device(node, OpenMode::peek); }), 0);
  }
  EXPECT_EQ(error_of([&] { open_device(node, OpenMode::activate); }), 0);
}

TEST_F(BlockDeviceTest, AClaimCanBeGivenUpAndTakenAgain) {
  const LoopDevice loop(kDeviceSize);
  const auto device = open_device(loop.path(), OpenMode::activate);
  device->release_claim();
  FileDescriptor view(::open(loop.path().c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  ASSERT_TRUE(view);
  EXPECT_EQ(device->claim(), EBUSY);
  // It is written and discarded while an exclusive holder (a native view) exists.
  const auto data = page_pattern(2, 5);
  device->write(0, data.span());
  device->flush();
  device->discard(0, 2 * kPageSize);
  view = FileDescriptor();
  EXPECT_EQ(device->claim(), 0);
  EXPECT_EQ(try_exclusive_open(loop.path()), EBUSY);
}

TEST_F(BlockDeviceTest, WaitsForALockHeldForAMoment) {
  const LoopDevice loop(kDeviceSize);
  FileDescriptor other(::open(loop.path().c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::flock(other.get(), LOCK_SH), 0);
  std::thread release([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    other = FileDescriptor();
  });
  EXPECT_EQ(error_of([&] { open_device(loop.path(), OpenMode::activate); }), 0);
  release.join();
}

}  // namespace
}  // namespace mpool::test

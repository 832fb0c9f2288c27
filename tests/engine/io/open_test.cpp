// Opening and creating image files; block devices are in block_device_test.cpp.
#include "engine/io/open.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "tests/engine/io/support.h"
#include "tests/support/skipping_clock.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kImageSize = 1 << 20;

TEST(CreateImageFile, MakesASparseFile) {
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  create_image_file(path, kImageSize);
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), kImageSize);
  EXPECT_EQ(status.st_blocks, 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST(CreateImageFile, RefusesWhatCannotBe) {
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  EXPECT_EQ(error_of([&] { create_image_file(path, 0); }), EINVAL);
  EXPECT_EQ(error_of([&] { create_image_file(path, UINT64_MAX); }, path), EFBIG);
  // A valid offset, but beyond the limit of the file system: no file may be left.
  EXPECT_NE(error_of([&] { create_image_file(path, std::uint64_t{INT64_MAX} - 4095); }, path), 0);
  EXPECT_FALSE(std::filesystem::exists(path));
  create_image_file(path, kImageSize);
  EXPECT_EQ(error_of([&] { create_image_file(path, kImageSize); }, path), EEXIST);
  EXPECT_EQ(error_of([&] { create_image_file(directory / "none/image", kImageSize); }), ENOENT);
}

TEST(CreateImageFile, TakesANameInTheWorkingDirectory) {
  const TemporaryDirectory directory;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(directory / "");
  create_image_file("image", kImageSize);
  std::filesystem::current_path(before);
  EXPECT_TRUE(std::filesystem::exists(directory / "image"));
}

TEST(OpenDevice, RefusesWhatIsNoDevice) {
  const TemporaryDirectory directory;
  const std::string fifo = directory / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  for (const OpenMode mode : {OpenMode::activate, OpenMode::inspect, OpenMode::peek}) {
    EXPECT_EQ(error_of([&] { open_device(directory / "none", mode); }, "none"), ENOENT);
    EXPECT_EQ(error_of([&] { open_device(directory / "", mode); }), ENOTBLK);
    EXPECT_EQ(error_of([&] { open_device(fifo, mode); }, "neither a block device"), ENOTBLK);
    EXPECT_EQ(error_of([&] { open_device("/dev/null", mode); }, "/dev/null"), ENOTBLK);
  }
}

TEST(OpenDevice, LocksAsItsModeSays) {
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  create_image_file(path, kImageSize);
  {
    const auto active = open_device(path, OpenMode::activate);
    EXPECT_EQ(error_of([&] { open_device(path, OpenMode::activate); },
                       path + ": in use by another mpool activation or program"),
              EBUSY);
    EXPECT_EQ(error_of([&] { open_device(path, OpenMode::inspect); }), EBUSY);
    EXPECT_EQ(error_of([&] { open_device(path, OpenMode::peek); }), 0);
  }
  {
    const auto one = open_device(path, OpenMode::inspect);
    const auto two = open_device(path, OpenMode::inspect);
    EXPECT_EQ(error_of([&] { open_device(path, OpenMode::activate); }), EBUSY);
    EXPECT_EQ(error_of([&] { open_device(path, OpenMode::peek); }), 0);
  }
  {
    const auto peeking = open_device(path, OpenMode::peek);
    EXPECT_EQ(error_of([&] { open_device(path, OpenMode::activate); }), 0);
  }
}

TEST(OpenDevice, ALockedDeviceIsRetriedForHalfASecond) {
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  create_image_file(path, kImageSize);
  const auto active = open_device(path, OpenMode::activate);
  test::SkippingClock clock;
  const Clock::Time start = clock.now();
  EXPECT_EQ(error_of([&] { open_device(path, OpenMode::activate, {.clock = &clock}); }), EBUSY);
  EXPECT_GE(clock.now() - start, std::chrono::milliseconds(500));
  EXPECT_LT(clock.now() - start, std::chrono::milliseconds(600));
  const OpenOptions at_once{.on_active = OnActive::fail, .clock = &clock};
  const Clock::Time before = clock.now();
  EXPECT_EQ(error_of([&] { open_device(path, OpenMode::activate, at_once); }), EBUSY);
  EXPECT_EQ(clock.now(), before);
}

TEST(OpenDevice, AHardLinkIsTheSameFile) {
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  const std::string link = directory / "link";
  create_image_file(path, kImageSize);
  std::filesystem::create_hard_link(path, link);
  const auto active = open_device(path, OpenMode::activate);
  EXPECT_EQ(error_of([&] { open_device(link, OpenMode::activate); }), EBUSY);
  EXPECT_EQ(error_of([&] { open_device(link, OpenMode::inspect); }), EBUSY);
}

// Readers that outlived a killed daemon hold a loop device of their own.
TEST(OpenDevice, ALoopDeviceIsRefusedWhileAnotherOverItsFileIsHeld) {
  const TemporaryDirectory directory;
  const std::string image = directory / "image";
  create_image_file(image, 4 << 20);
  const auto attach = [&](const char* name) {
    test::run("losetup --show -f " + image + " > " + (directory / name));
    std::ifstream file(directory / name);
    std::string loop;
    std::getline(file, loop);
    return loop;
  };
  std::string given = attach("given");
  std::string other = attach("other");
  const auto detach = [](const std::string* device) { test::run("losetup -d " + *device); };
  const std::unique_ptr<std::string, decltype(detach)> first(&given, detach);
  const std::unique_ptr<std::string, decltype(detach)> second(&other, detach);
  {
    const FileDescriptor holder(::open(other.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
    ASSERT_TRUE(holder);
    EXPECT_EQ(error_of([&] { open_device(given, OpenMode::activate); },
                       given + ": in use through " + other),
              EBUSY);
    EXPECT_EQ(error_of([&] { open_device(given, OpenMode::inspect); }), 0);
  }
  EXPECT_EQ(error_of([&] { open_device(given, OpenMode::activate); }), 0);
}

// Two ways to the same media.
TEST(OpenDevice, AnImageAndALoopDeviceOverItExcludeEachOther) {
  const test::TemporaryDirectory directory;
  const std::string image = directory / "image";
  create_image_file(image, 4 << 20);
  test::run("losetup --direct-io=on --show -f " + image + " > " + (directory / "loop"));
  std::ifstream file(directory / "loop");
  std::string loop;
  std::getline(file, loop);
  const auto detach = [](const std::string* device) { test::run("losetup -d " + *device); };
  const std::unique_ptr<std::string, decltype(detach)> attached(&loop, detach);
  {
    const auto device = open_device(image, OpenMode::activate);
    EXPECT_EQ(error_of([&] { open_device(loop, OpenMode::activate); }), EBUSY);
    EXPECT_EQ(error_of([&] { open_device(loop, OpenMode::inspect); }), EBUSY);
  }
  {
    const auto device = open_device(loop, OpenMode::activate);
    EXPECT_EQ(error_of([&] { open_device(image, OpenMode::activate); }), EBUSY);
  }
  EXPECT_EQ(error_of([&] { open_device(loop, OpenMode::activate); }), 0);
  // A process that reads a pool in a file through a loop device, as views do, prevents it from
  // being overwritten.
  {
    const FileDescriptor holder(::open(loop.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
    ASSERT_TRUE(holder);
    EXPECT_EQ(error_of([&] { open_device(image, OpenMode::activate); },
                       image + ": in use through " + loop),
              EBUSY);
    EXPECT_EQ(error_of([&] { open_device(image, OpenMode::inspect); }), 0);
    const auto tolerant = [](const std::string&) { return true; };
    EXPECT_EQ(error_of([&] { open_device(image, OpenMode::activate, {.tolerate = tolerant}); }), 0);
  }
  EXPECT_EQ(error_of([&] { open_device(image, OpenMode::activate); }), 0);
}

}  // namespace
}  // namespace mpool::test

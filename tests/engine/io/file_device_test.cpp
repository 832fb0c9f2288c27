// Reading and writing regular files; block devices are in block_device_test.cpp.
#include "engine/io/file_device.h"

#include <filesystem>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "engine/io/open.h"
#include "engine/io/overlay_device.h"
#include "tests/engine/io/support.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kFileSize = 16 << 20;

class FileDeviceTest : public testing::Test {
 protected:
  FileDeviceTest() : path_(directory_ / "image") { create_image_file(path_, kFileSize); }

  TemporaryDirectory directory_;
  std::string path_;
};

void write_and_read_back(Device& device) {
  const auto data = page_pattern(300, 1);
  AlignedBuffer read(data.size());
  device.write(5 * kPageSize, data.span());
  device.flush();
  device.read(5 * kPageSize, read.span());
  EXPECT_TRUE(same(read.span(), data.span()));
  device.read(kFileSize - kPageSize, read.span(0, kPageSize));
  EXPECT_TRUE(all_zero(read.span(0, kPageSize)));
}

TEST_F(FileDeviceTest, ReadsWhatWasWritten) {
  const auto device = open_device(path_, OpenMode::activate);
  write_and_read_back(*device);
}

TEST_F(FileDeviceTest, UsesTheRoomByWhichItGrewOnceItLooked) {
  const auto data = page_pattern(2, 4);
  const auto file = open_device(path_, OpenMode::activate);
  OverlayDevice overlay(open_device(path_, OpenMode::peek));
  std::filesystem::resize_file(path_, 2 * kFileSize);
  for (Device* device : {file.get(), static_cast<Device*>(&overlay)}) {
    EXPECT_EQ(error_of([&] { device->write(kFileSize - kPageSize, data.span()); }), EINVAL);
    EXPECT_EQ(device->update_size(), 2 * kFileSize);
    EXPECT_EQ(device->size(), 2 * kFileSize);
    device->write(kFileSize - kPageSize, data.span());
    AlignedBuffer read(data.size());
    device->read(kFileSize - kPageSize, read.span());
    EXPECT_TRUE(same(read.span(), data.span()));
    EXPECT_EQ(error_of([&] { device->read(2 * kFileSize, read.span()); }), EINVAL);
  }
  std::filesystem::resize_file(path_, kFileSize);
  EXPECT_EQ(file->update_size(), kFileSize);
  EXPECT_EQ(file->size(), 2 * kFileSize) << "what was there once is not forgotten";
}

TEST_F(FileDeviceTest, KeepsItAfterClosing) {
  const auto data = page_pattern(3, 2);
  {
    const auto device = open_device(path_, OpenMode::activate);
    device->write(kPageSize, data.span());
    device->flush();
  }
  AlignedBuffer read(data.size());
  open_device(path_, OpenMode::inspect)->read(kPageSize, read.span());
  EXPECT_TRUE(same(read.span(), data.span()));
}

TEST_F(FileDeviceTest, CopiesMemoryThatIsNotAligned) {
  const auto device = open_device(path_, OpenMode::activate);
  // More than one bounce buffer.
  const auto data = page_pattern(600, 3);
  std::vector<std::byte> unaligned(data.size() + 1);
  const ByteSpan memory(unaligned.data() + 1, data.size());
  std::memcpy(memory.data(), data.data(), data.size());
  device->write(2 * kPageSize, memory);
  AlignedBuffer read(data.size());
  device->read(2 * kPageSize, read.span());
  EXPECT_TRUE(same(read.span(), data.span()));
  std::memset(memory.data(), 0, memory.size());
  device->read(2 * kPageSize, memory);
  EXPECT_TRUE(same(memory, data.span()));
}

TEST_F(FileDeviceTest, TellsItsProperties) {
  const auto device = open_device(path_, OpenMode::activate);
  const auto& properties = device->properties();
  EXPECT_EQ(device->name(), path_);
  EXPECT_EQ(properties.size, kFileSize);
  EXPECT_TRUE(properties.is_file);
  EXPECT_FALSE(properties.read_only);
  EXPECT_EQ(properties.zoned, ZonedModel::none);
  EXPECT_GE(properties.logical_sector_size, 512u);
  EXPECT_LE(properties.logical_sector_size, properties.physical_sector_size);
  EXPECT_LE(properties.physical_sector_size, kPageSize);
  EXPECT_NE(properties.discard_granularity, 0u);
}

TEST_F(FileDeviceTest, DiscardFreesTheBlocksAndKeepsTheSize) {
  const auto device = open_device(path_, OpenMode::activate);
  const auto data = page_pattern(1024, 4);
  device->write(0, data.span());
  device->flush();
  struct stat before {};
  struct stat after {};
  ASSERT_EQ(::stat(path_.c_str(), &before), 0);
  device->discard(kPageSize, 1022 * kPageSize);
  device->flush();
  ASSERT_EQ(::stat(path_.c_str(), &after), 0);
  EXPECT_LT(after.st_blocks, before.st_blocks);
  EXPECT_EQ(static_cast<std::uint64_t>(after.st_size), kFileSize);
  AlignedBuffer read(data.size());
  device->read(0, read.span());
  EXPECT_TRUE(same(read.span(0, kPageSize), data.span(0, kPageSize)));
  EXPECT_TRUE(all_zero(read.span(kPageSize, 1022 * kPageSize)));
  EXPECT_TRUE(same(read.span(1023 * kPageSize, kPageSize), data.span(1023 * kPageSize, kPageSize)));
}

TEST_F(FileDeviceTest, AFileThatIsAllocatedWholeStaysSo) {
  {
    const FileDescriptor file(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(::posix_fallocate(file.get(), 0, kFileSize), 0);
  }
  const auto device = open_device(path_, OpenMode::activate);
  EXPECT_EQ(device->properties().discard_granularity, 0u);
  device->discard(0, kFileSize);
  struct stat after {};
  ASSERT_EQ(::stat(path_.c_str(), &after), 0);
  EXPECT_GE(static_cast<std::uint64_t>(after.st_blocks) * 512, kFileSize);
  EXPECT_EQ(device->counters().errors, 0u);
}

TEST_F(FileDeviceTest, ReservesTheBlocksOfARange) {
  const auto device = open_device(path_, OpenMode::activate);
  const auto allocated = [&] {
    struct stat status {};
    EXPECT_EQ(::stat(path_.c_str(), &status), 0);
    return static_cast<std::uint64_t>(status.st_blocks) * 512;
  };
  const auto data = page_pattern(1, 3);
  device->write(kFileSize / 2, data.span());
  const std::uint64_t before = allocated();
  device->reserve(kFileSize / 2, kFileSize / 4);
  EXPECT_GE(allocated(), before + kFileSize / 4 - 2 * kPageSize);
  AlignedBuffer read(2 * kPageSize);
  device->read(kFileSize / 2, read.span());
  EXPECT_TRUE(same(read.span(0, kPageSize), data.span()));
  EXPECT_TRUE(all_zero(read.span(kPageSize, kPageSize)));
  EXPECT_EQ(error_of([&] { device->reserve(0, 2 * kFileSize); }, "beyond the end"), EINVAL);
  EXPECT_EQ(error_of([&] { open_device(path_, OpenMode::peek)->reserve(0, kPageSize); }), EROFS);
}

TEST_F(FileDeviceTest, AFileThatBecameShorterGivesAReadError) {
  const auto device = open_device(path_, OpenMode::activate);
  std::filesystem::resize_file(path_, kFileSize / 2);
  AlignedBuffer read(4 * kPageSize);
  EXPECT_EQ(error_of([&] { device->read(kFileSize / 2 - 2 * kPageSize, read.span()); },
                     "the device ends there"),
            EIO);
  EXPECT_FALSE(device->offline());
  device->read(kFileSize / 2 - 4 * kPageSize, read.span());
  EXPECT_TRUE(all_zero(read.span()));
}

TEST_F(FileDeviceTest, AFileOpenedForReadingCannotBeWritten) {
  AlignedBuffer page = AlignedBuffer::zeroed(kPageSize);
  for (const OpenMode mode : {OpenMode::inspect, OpenMode::peek}) {
    const auto device = open_device(path_, mode);
    EXPECT_TRUE(device->properties().read_only);
    EXPECT_EQ(error_of([&] { device->write(0, page.span()); }), EROFS);
  }
}

TEST_F(FileDeviceTest, ServesManyThreads) {
  const auto device = open_device(path_, OpenMode::activate);
  constexpr unsigned kThreads = 4;
  std::vector<int> wrong(kThreads, 0);
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      AlignedBuffer read(4 * kPageSize);
      for (unsigned round = 0; round < 50; ++round) {
        const auto data = page_pattern(4, round * kThreads + thread);
        const std::uint64_t offset = (round * kThreads + thread) * 4 * kPageSize;
        device->write(offset, data.span());
        device->read(offset, read.span());
        if (!same(read.span(), data.span())) ++wrong[thread];
      }
    });
  }
  for (auto& thread : threads)
    thread.join();
  EXPECT_EQ(wrong, std::vector<int>(kThreads, 0));
}

TEST(FileDeviceWithoutDirectIo, GoesThroughThePageCache) {
  if (::geteuid() != 0) FAIL() << "mounting needs root: run tools/test.sh as root";
  const TemporaryDirectory directory;
  const TestMount mounted("none", "ramfs", directory / "ramfs");
  const std::string path = directory / "ramfs/image";
  create_image_file(path, kFileSize);
  ASSERT_EQ(::open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC), -1) << "ramfs has direct I/O now";
  const auto device = open_device(path, OpenMode::activate);
  write_and_read_back(*device);
  // ramfs cannot punch holes either: no error.
  device->discard(0, kFileSize);
  device->discard(0, kFileSize);
}

TEST(FileDeviceOnTmpfs, Works) {
  if (::geteuid() != 0) FAIL() << "mounting needs root: run tools/test.sh as root";
  const TemporaryDirectory directory;
  const TestMount mounted("none", "tmpfs", directory / "tmpfs");
  const std::string path = directory / "tmpfs/image";
  create_image_file(path, kFileSize);
  const auto device = open_device(path, OpenMode::activate);
  write_and_read_back(*device);
}

}  // namespace
}  // namespace mpool::test

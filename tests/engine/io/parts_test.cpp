// Reads and writes from and to several pieces of memory.
#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "engine/io/open.h"
#include "engine/io/overlay_device.h"
#include "engine/io/simulated_device.h"
#include "tests/engine/io/support.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kPartsSize = 16 << 20;

// Cuts a buffer into parts of 1, 2, 3, … pages up to `most`, and these again.
template <typename Span, typename Buffer>
std::vector<Span> cut(Buffer& buffer, std::size_t most) {
  std::vector<Span> parts;
  std::size_t pages = 1;
  for (std::size_t at = 0; at < buffer.size(); pages = pages % most + 1) {
    const std::size_t length = std::min(pages * kPageSize, buffer.size() - at);
    parts.push_back(buffer.span(at, length));
    at += length;
  }
  return parts;
}

class PartsTest : public testing::TestWithParam<const char*> {
 protected:
  PartsTest() : path_(directory_ / "image") {
    create_image_file(path_, kPartsSize);
    const std::string kind = GetParam();
    if (kind == "file") device_ = open_device(path_, OpenMode::activate);
    if (kind == "loop") {
      loop_.emplace(kPartsSize);
      device_ = open_device(loop_->path(), OpenMode::activate);
    }
    if (kind == "overlay") {
      device_ = std::make_unique<OverlayDevice>(open_device(path_, OpenMode::peek));
    }
    if (kind == "simulated") {
      device_ = std::make_unique<SimulatedDevice>("simulated",
                                                  std::make_shared<SimulatedMedia>(kPartsSize));
    }
  }

  TemporaryDirectory directory_;
  std::string path_;
  std::optional<LoopDevice> loop_;
  std::unique_ptr<Device> device_;
};

TEST_P(PartsTest, AreOneBehindTheOther) {
  for (const std::size_t pages : {1u, 2u, 7u, 300u}) {
    for (const std::size_t most : {1u, 3u, 100u}) {
      const auto data = page_pattern(pages, static_cast<unsigned>(pages + most));
      const auto before = device_->counters();
      device_->write(3 * kPageSize, cut<ConstByteSpan>(data, most));
      AlignedBuffer whole(data.size());
      device_->read(3 * kPageSize, whole.span());
      EXPECT_TRUE(same(whole.span(), data.span()));
      AlignedBuffer read(data.size());
      device_->read(3 * kPageSize, cut<ByteSpan>(read, most + 1));
      EXPECT_TRUE(same(read.span(), data.span()));
      const auto after = device_->counters();
      EXPECT_EQ(after.writes, before.writes + 1);
      EXPECT_EQ(after.written_bytes, before.written_bytes + data.size());
      EXPECT_EQ(after.read_bytes, before.read_bytes + 2 * data.size());
    }
  }
}

TEST_P(PartsTest, MayBeMoreThanASystemCallTakes) {
  const auto data = page_pattern(2500, 9);
  device_->write(0, cut<ConstByteSpan>(data, 1));
  AlignedBuffer read(data.size());
  device_->read(0, cut<ByteSpan>(read, 1));
  EXPECT_TRUE(same(read.span(), data.span()));
}

TEST_P(PartsTest, MayLieAnywhereInMemory) {
  const auto data = page_pattern(6, 2);
  std::vector<std::byte> unaligned(data.size() + 1);
  std::ranges::copy(data.span(), unaligned.begin() + 1);
  const ConstByteSpan odd(unaligned.data() + 1, data.size());
  const std::array<ConstByteSpan, 3> parts = {data.span(0, kPageSize),
                                              odd.subspan(kPageSize, 2 * kPageSize),
                                              data.span(3 * kPageSize, 3 * kPageSize)};
  device_->write(kPageSize, parts);
  std::vector<std::byte> found(data.size() + 1);
  const ByteSpan into(found.data() + 1, data.size());
  AlignedBuffer tail(2 * kPageSize);
  const std::array<ByteSpan, 2> read = {into.first(4 * kPageSize), tail.span()};
  device_->read(kPageSize, read);
  EXPECT_TRUE(same(into.first(4 * kPageSize), data.span(0, 4 * kPageSize)));
  EXPECT_TRUE(same(tail.span(), data.span(4 * kPageSize, 2 * kPageSize)));
}

TEST_P(PartsTest, OfNothingDoNothing) {
  const auto before = device_->counters();
  device_->write(0, std::span<const ConstByteSpan>());
  device_->read(0, std::span<const ByteSpan>());
  EXPECT_EQ(device_->counters().writes, before.writes);
  EXPECT_EQ(device_->counters().reads, before.reads);
}

TEST_P(PartsTest, MustLieInsideTheDevice) {
  const auto data = page_pattern(2, 1);
  const std::array<ConstByteSpan, 2> parts = {data.span(0, kPageSize), data.span(0, kPageSize)};
  const std::array<ConstByteSpan, 2> crooked = {data.span(0, kPageSize), data.span(0, 100)};
  AlignedBuffer read(2 * kPageSize);
  const std::array<ByteSpan, 2> into = {read.span(0, kPageSize), read.span(0, kPageSize)};
  EXPECT_EQ(error_of([&] { device_->write(kPartsSize - kPageSize, parts); }), EINVAL);
  EXPECT_EQ(error_of([&] { device_->write(512, parts); }), EINVAL);
  EXPECT_EQ(error_of([&] { device_->write(0, crooked); }), EINVAL);
  EXPECT_EQ(error_of([&] { device_->read(kPartsSize - kPageSize, into); }), EINVAL);
  EXPECT_EQ(error_of([&] { device_->read(~std::uint64_t{0} - kPageSize + 1, into); }), EINVAL);
  EXPECT_FALSE(device_->offline());
}

// Memory of a program that cannot be accessed is no failure of the device.
TEST(Parts, OfMemoryThatIsNotThereLeaveTheDeviceOnline) {
  const TemporaryDirectory directory;
  create_image_file(directory / "image", kPartsSize);
  const auto device = open_device(directory / "image", OpenMode::activate);
  void* const page = ::mmap(nullptr, kPageSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  const ByteSpan gone(static_cast<std::byte*>(page), kPageSize);
  const auto data = page_pattern(1, 1);
  const std::array<ConstByteSpan, 2> from = {gone, data.span()};
  EXPECT_EQ(error_of([&] { device->write(0, from); }), EFAULT);
  EXPECT_EQ(error_of([&] { device->write(0, gone); }), EFAULT);
  EXPECT_EQ(error_of([&] { device->read(0, gone); }), EFAULT);
  EXPECT_FALSE(device->offline());
  device->write(0, data.span());
  ::munmap(page, kPageSize);
}

INSTANTIATE_TEST_SUITE_P(Devices, PartsTest,
                         testing::Values("file", "loop", "overlay", "simulated"),
                         [](const auto& kind) { return std::string(kind.param); });

class FailingPartsTest : public testing::Test {
 protected:
  int write_two(const SimulatedFaults::Plan& plan) {
    faults_->arm(plan);
    const auto data = page_pattern(2, 1);
    const std::array<ConstByteSpan, 2> parts = {data.span(0, kPageSize),
                                                data.span(kPageSize, kPageSize)};
    return error_of([&] { device_.write(0, parts); });
  }
  std::shared_ptr<SimulatedFaults> faults_ = std::make_shared<SimulatedFaults>();
  SimulatedDevice device_{
      "simulated", std::make_shared<SimulatedMedia>(1 << 20),
      SimulatedDevice::Options{.history = nullptr, .number = 0, .faults = faults_}};
};

TEST_F(FailingPartsTest, TakeTheDeviceOffline) {
  EXPECT_EQ(write_two({.target = SimulatedFaults::Target::write, .number = 2}), EIO);
  EXPECT_TRUE(device_.offline());
  EXPECT_EQ(write_two({}), EIO);
  AlignedBuffer read(kPageSize);
  const ByteSpan into = read.span();
  faults_->disarm();
  device_.read(0, std::span(&into, 1));
}

TEST_F(FailingPartsTest, WithoutRoomLeaveItOnline) {
  EXPECT_EQ(write_two({.target = SimulatedFaults::Target::write, .number = 2, .code = EDQUOT}),
            ENOSPC);
  EXPECT_FALSE(device_.offline());
  faults_->disarm();
  EXPECT_EQ(write_two({.number = 100}), 0);
}

TEST_F(FailingPartsTest, OfAReadFailIt) {
  faults_->arm({.target = SimulatedFaults::Target::read, .number = 2});
  AlignedBuffer read(2 * kPageSize);
  const std::array<ByteSpan, 2> into = {read.span(0, kPageSize), read.span(kPageSize, kPageSize)};
  EXPECT_EQ(error_of([&] { device_.read(0, into); }), EIO);
  EXPECT_EQ(device_.counters().errors, 1u);
  EXPECT_FALSE(device_.offline());
}

}  // namespace
}  // namespace mpool::test

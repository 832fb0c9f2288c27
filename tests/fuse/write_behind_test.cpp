#include "fuse/reactor/write_behind.h"

#include <cerrno>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/device/device.h"
#include "engine/device/io_ring.h"

namespace mpoolfs {
namespace {

using mpool::kPageSize;

mpool::DeviceProperties properties_of(std::uint64_t size) {
  mpool::DeviceProperties properties;
  properties.size = size;
  return properties;
}

// In memory; its transfers complete with the ring's next completions.
class MemoryDevice final : public mpool::Device {
 public:
  static constexpr std::size_t kSize = 16u << 20;

  MemoryDevice() : Device("test", properties_of(kSize)), bytes(kSize) {}

  std::vector<std::byte> bytes;
  int error = 0;

 protected:
  void read_impl(std::uint64_t offset, mpool::ByteSpan into) override {
    std::memcpy(into.data(), bytes.data() + offset, into.size());
  }
  void write_impl(std::uint64_t offset, mpool::ConstByteSpan from) override {
    if (error != 0) mpool::raise(error, "test", "told to fail");
    std::memcpy(bytes.data() + offset, from.data(), from.size());
  }
  void flush_impl() override {}
  void discard_impl(std::uint64_t, std::uint64_t) override {}
};

class File final : public mpool::OpenFile {
 public:
  mpool::InodeNumber inode() const override { return 2; }
  mpool::FileKind kind() const override { return mpool::FileKind::write_once; }
  bool cacheable() const override { return false; }
  std::size_t read(std::uint64_t, mpool::ByteSpan) override { return 0; }
  bool plan_read(std::uint64_t, std::size_t, mpool::ByteSpan, mpool::ReadPlan&) override {
    return false;
  }
  void write(std::uint64_t, mpool::ConstByteSpan, bool) override {}
  mpool::StartedWrite start_write(std::uint64_t, mpool::ConstByteSpan, bool) override { return {}; }
  void reserve(std::uint64_t, std::size_t) override {}
  void end_write(mpool::StartedWrite&, int error) noexcept override { outcomes.push_back(error); }
  void truncate(std::uint64_t) override {}
  void fsync() override {}
  void flush() override {}
  void close() noexcept override {}

  std::vector<int> outcomes;
};

class WriteBehindTest : public testing::Test {
 protected:
  WriteBehindTest() { ring_.enable(); }

  mpool::StartedWrite transfer(std::uint64_t offset, mpool::ConstByteSpan memory) {
    mpool::StartedWrite write(mpool::StartedWrite::Kind::transfer);
    write.device = &device_;
    write.offset = offset;
    write.memory = memory;
    return write;
  }

  MemoryDevice device_;
  File file_;
  mpool::IoRing ring_{8, 64};
  WriteBehind behind_{ring_};
  mpool::AlignedBuffer data_ = mpool::AlignedBuffer::zeroed(WriteBehind::kMaxSize + kPageSize);
};

TEST_F(WriteBehindTest, TheDataMayChangeOnceItIsTaken) {
  data_.data()[0] = std::byte{7};
  mpool::StartedWrite write = transfer(kPageSize, data_.span(0, kPageSize));
  ASSERT_TRUE(behind_.take(file_, write));
  data_.data()[0] = std::byte{9};
  EXPECT_EQ(behind_.pending(), 1u);
  EXPECT_TRUE(file_.outcomes.empty());
  ring_.run_completions();
  EXPECT_EQ(behind_.pending(), 0u);
  EXPECT_EQ(file_.outcomes, std::vector<int>{0});
  EXPECT_EQ(device_.bytes[kPageSize], std::byte{7});
}

TEST_F(WriteBehindTest, IsBounded) {
  for (std::size_t i = 0; i < WriteBehind::kPlaces; ++i) {
    mpool::StartedWrite write = transfer(i * kPageSize, data_.span(0, kPageSize));
    ASSERT_TRUE(behind_.take(file_, write));
  }
  mpool::StartedWrite further = transfer(0, data_.span(0, kPageSize));
  EXPECT_FALSE(behind_.take(file_, further));
  EXPECT_EQ(further.memory.data(), data_.data());
  ring_.run_completions();
  EXPECT_EQ(file_.outcomes.size(), WriteBehind::kPlaces);
  EXPECT_TRUE(behind_.take(file_, further));
  ring_.run_completions();
}

TEST_F(WriteBehindTest, LeavesWhatIsTooBig) {
  mpool::StartedWrite write = transfer(0, data_.span());
  EXPECT_FALSE(behind_.take(file_, write));
  EXPECT_EQ(behind_.pending(), 0u);
}

TEST_F(WriteBehindTest, TellsTheFileOfAFailure) {
  device_.error = EIO;
  mpool::StartedWrite write = transfer(0, data_.span(0, kPageSize));
  ASSERT_TRUE(behind_.take(file_, write));
  ring_.run_completions();
  EXPECT_EQ(file_.outcomes, std::vector<int>{EIO});
}

TEST_F(WriteBehindTest, WhatCannotBeStartedIsEndedAndThrown) {
  mpool::StartedWrite write = transfer(MemoryDevice::kSize, data_.span(0, kPageSize));
  EXPECT_THROW(behind_.take(file_, write), mpool::Error);
  EXPECT_EQ(file_.outcomes, std::vector<int>{EINVAL});
  EXPECT_EQ(behind_.pending(), 0u);
}

TEST_F(WriteBehindTest, WhatWasGatheredIsNotCopied) {
  mpool::StartedWrite write(mpool::StartedWrite::Kind::transfer);
  write.device = &device_;
  write.gathered = mpool::AlignedBuffer::zeroed(kPageSize);
  write.gathered.data()[1] = std::byte{5};
  write.memory = write.gathered.span();
  ASSERT_TRUE(behind_.take(file_, write));
  behind_.trim();
  ring_.run_completions();
  EXPECT_EQ(device_.bytes[1], std::byte{5});
}

}  // namespace
}  // namespace mpoolfs

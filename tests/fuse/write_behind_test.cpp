#include "fuse/runtime/write_behind.h"

#include <cerrno>
#include <memory>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/io/io_ring.h"
#include "engine/object/content_writer.h"
#include "engine/object/held_pages.h"
#include "tests/engine/pool/pool_support.h"
#include "tests/support/error_of.h"

namespace mpoolfs {
namespace {

using mpool::kPageSize;

// A file of an in-memory pool, whose transfers complete with the ring's next completions.
class WriteBehindTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kZoneSize = 4u << 20;

  WriteBehindTest() {
    ring_.enable();
    writer_->reserve(0, kZoneSize);
  }

  mpool::StartedWrite start(std::uint64_t offset, mpool::ConstByteSpan memory) {
    mpool::StartedWrite write = writer_->start_write(offset, memory);
    EXPECT_EQ(write.kind, mpool::StartedWrite::Kind::transfer);
    write.writer = writer_;
    return write;
  }
  // The result of the file's writes so far.
  int outcome() {
    return mpool::test::error_of([this] { writer_->drain(); });
  }

  std::shared_ptr<mpool::ContentWriter> make_writer(mpool::WriteMemory& memory) {
    const auto allocate = [this](std::optional<std::uint64_t> near) {
      return std::make_unique<mpool::MblockWriter>(*pool_, mpool::Placement{.near = near});
    };
    return std::make_shared<mpool::ContentWriter>(kZoneSize, allocate, memory);
  }

  std::byte byte_at(std::uint64_t offset) {
    mpool::AlignedBuffer page(kPageSize);
    device_->read(mpool::round_down(offset, kPageSize), page.span());
    return page.data()[offset % kPageSize];
  }

  static mpool::CreateOptions options() {
    mpool::CreateOptions options = mpool::test::small_options();
    options.zone_size = kZoneSize;
    options.mdc0_capacity = options.mdc_capacity = options.root_capacity = kZoneSize;
    return options;
  }

  static std::vector<std::unique_ptr<mpool::Device>> one(mpool::test::MemoryDevice* device) {
    std::vector<std::unique_ptr<mpool::Device>> devices;
    devices.emplace_back(device);
    return devices;
  }

  // Owned by the pool.
  mpool::test::MemoryDevice* const device_ = new mpool::test::MemoryDevice(
      "device0", mpool::test::create(options(), 64 * mpool::test::kMiB));
  std::unique_ptr<mpool::Pool> pool_ = mpool::Pool::activate(one(device_), {.mdc_count = 2});
  // Pages out of order are transferred.
  mpool::WriteMemory no_memory_{64 * mpool::test::kMiB, 0};
  mpool::WriteMemory little_memory_{64 * mpool::test::kMiB, 2 * mpool::HeldPages::kPieceSize};
  std::shared_ptr<mpool::ContentWriter> writer_ = make_writer(no_memory_);
  mpool::IoRing ring_{8, 64};
  WriteBehind behind_{ring_};
  mpool::AlignedBuffer data_ = mpool::AlignedBuffer::zeroed(WriteBehind::kMaxSize + kPageSize);
};

TEST_F(WriteBehindTest, TheDataMayChangeOnceItIsTaken) {
  data_.data()[3] = std::byte{7};
  mpool::StartedWrite write = start(kPageSize, data_.span(0, kPageSize));
  const std::uint64_t place = write.offset;
  ASSERT_TRUE(behind_.take(write));
  data_.data()[3] = std::byte{9};
  EXPECT_EQ(behind_.pending(), 1u);
  ring_.run_completions();
  EXPECT_EQ(behind_.pending(), 0u);
  EXPECT_EQ(byte_at(place + 3), std::byte{7});
  EXPECT_EQ(outcome(), 0);
}

TEST_F(WriteBehindTest, IsBounded) {
  for (std::size_t i = 0; i < WriteBehind::kPlaces; ++i) {
    mpool::StartedWrite write = start((2 * i + 1) * kPageSize, data_.span(0, kPageSize));
    ASSERT_TRUE(behind_.take(write));
  }
  mpool::StartedWrite further = start(100 * kPageSize, data_.span(0, kPageSize));
  EXPECT_FALSE(behind_.take(further));
  EXPECT_EQ(further.memory.data(), data_.data());
  ring_.run_completions();
  EXPECT_EQ(behind_.pending(), 0u);
  EXPECT_TRUE(behind_.take(further));
  ring_.run_completions();
  EXPECT_EQ(outcome(), 0);
}

TEST_F(WriteBehindTest, TakesNoMoreThanItIsAllowed) {
  mpool::StartedWrite first = start(kPageSize, data_.span(0, kPageSize));
  mpool::StartedWrite second = start(3 * kPageSize, data_.span(0, kPageSize));
  ASSERT_TRUE(behind_.take(first, 1));
  EXPECT_FALSE(behind_.take(second, 1));
  ring_.run_completions();
  EXPECT_TRUE(behind_.take(second, 1));
  ring_.run_completions();
  EXPECT_EQ(outcome(), 0);
}

TEST_F(WriteBehindTest, LeavesWhatIsTooBig) {
  mpool::StartedWrite write = start(kPageSize, data_.span());
  EXPECT_FALSE(behind_.take(write));
  EXPECT_EQ(behind_.pending(), 0u);
  writer_->end_write(write, 0);
}

TEST_F(WriteBehindTest, TheFileTellsOfAFailure) {
  mpool::StartedWrite write = start(kPageSize, data_.span(0, kPageSize));
  device_->before_write(
      [](std::uint64_t, mpool::ConstByteSpan) { mpool::raise(EIO, "test", "write made to fail"); });
  ASSERT_TRUE(behind_.take(write));
  ring_.run_completions();
  EXPECT_EQ(outcome(), EIO);
}

TEST_F(WriteBehindTest, WhatCannotBeStartedIsEndedAndThrown) {
  mpool::StartedWrite write = start(kPageSize, data_.span(0, kPageSize));
  write.offset = device_->properties().size;
  EXPECT_EQ(mpool::test::error_of([&] { behind_.take(write); }), EINVAL);
  EXPECT_EQ(behind_.pending(), 0u);
  // It has ended: otherwise a drain would wait for it.
  EXPECT_EQ(outcome(), EINVAL);
}

TEST_F(WriteBehindTest, OutlivesTheHandlesOfTheFile) {
  mpool::StartedWrite write = start(kPageSize, data_.span(0, kPageSize));
  ASSERT_TRUE(behind_.take(write));
  const std::weak_ptr<mpool::ContentWriter> writer = writer_;
  writer_.reset();
  EXPECT_FALSE(writer.expired());
  ring_.run_completions();
  EXPECT_TRUE(writer.expired());
}

// The ring has failed: no caller may wait for transfers in progress.
TEST_F(WriteBehindTest, WhatIsAbandonedHasFailed) {
  mpool::StartedWrite write = start(kPageSize, data_.span(0, kPageSize));
  ASSERT_TRUE(behind_.take(write));
  behind_.abandon(EIO);
  EXPECT_EQ(behind_.pending(), 0u);
  EXPECT_EQ(outcome(), EIO);
  behind_.abandon(EIO);
  EXPECT_EQ(behind_.pending(), 0u);
}

TEST_F(WriteBehindTest, WhatWasGatheredIsNotCopied) {
  // Small ones are held; a piece that must leave for the last one is the transfer.
  constexpr std::size_t kPart = 64u << 10;
  writer_ = make_writer(little_memory_);
  writer_->reserve(0, kZoneSize);
  mpool::StartedWrite write;
  for (std::uint64_t at = 0; at <= little_memory_.max_per_file(); at += kPart) {
    write = writer_->start_write(at, data_.span(0, kPart));
  }
  ASSERT_EQ(write.kind, mpool::StartedWrite::Kind::transfer);
  write.writer = writer_;
  const auto* const memory = write.memory.data();
  ASSERT_FALSE(write.gathered.empty());
  ASSERT_TRUE(behind_.take(write));
  EXPECT_NE(memory, data_.data());
  behind_.trim();
  ring_.run_completions();
  EXPECT_EQ(outcome(), 0);
}

}  // namespace
}  // namespace mpoolfs

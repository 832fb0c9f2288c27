#include "engine/file/write_behind.h"

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

namespace mpool {
namespace {

// A file of an in-memory pool, whose transfers complete with the ring's next completions.
class WriteBehindTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kZoneSize = 4u << 20;

  WriteBehindTest() {
    ring_.enable();
    writer_->set_aside(0, kZoneSize);
  }

  StartedWrite start(std::uint64_t offset, ConstByteSpan memory) {
    StartedWrite write = writer_->start_write(offset, memory);
    EXPECT_EQ(write.kind, StartedWrite::Kind::transfer);
    write.writer = writer_;
    return write;
  }
  // The result of the file's writes so far.
  int outcome() {
    return test::error_of([this] { writer_->drain(); });
  }

  std::shared_ptr<ContentWriter> make_writer(WriteMemory& memory) {
    const auto allocate = [this](std::optional<std::uint64_t> near) {
      return std::make_unique<MblockWriter>(*pool_, Placement{.near = near});
    };
    return std::make_shared<ContentWriter>(kZoneSize, allocate, memory);
  }

  std::byte byte_at(std::uint64_t offset) {
    AlignedBuffer page(kPageSize);
    device_->read(round_down(offset, kPageSize), page.span());
    return page.data()[offset % kPageSize];
  }

  static CreateOptions options() {
    CreateOptions options = test::small_options();
    options.zone_size = kZoneSize;
    options.mdc0_capacity = options.mdc_capacity = options.root_capacity = kZoneSize;
    return options;
  }

  static std::vector<std::unique_ptr<Device>> one(test::MemoryDevice* device) {
    std::vector<std::unique_ptr<Device>> devices;
    devices.emplace_back(device);
    return devices;
  }

  // Owned by the pool.
  test::MemoryDevice* const device_ =
      new test::MemoryDevice("device0", test::create(options(), 64 * test::kMiB));
  std::unique_ptr<Pool> pool_ = Pool::activate(one(device_), {.mdc_count = 2});
  // Pages out of order are transferred.
  WriteMemory no_memory_{{.max_bytes = 64 * test::kMiB, .max_per_file = 0}};
  WriteMemory little_memory_{
      {.max_bytes = 64 * test::kMiB, .max_per_file = 2 * HeldPages::kPieceSize}};
  std::shared_ptr<ContentWriter> writer_ = make_writer(no_memory_);
  IoRing ring_{8, 64};
  WriteMemory budget_;
  WriteBehind behind_{ring_, budget_};
  AlignedBuffer data_ = AlignedBuffer::zeroed(Tunables::WriteBehind{}.max_size + kPageSize);
};

TEST_F(WriteBehindTest, TheDataMayChangeOnceItIsTaken) {
  data_.data()[3] = std::byte{7};
  StartedWrite write = start(kPageSize, data_.span(0, kPageSize));
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
  for (std::size_t i = 0; i < Tunables::WriteBehind{}.slots; ++i) {
    StartedWrite write = start((2 * i + 1) * kPageSize, data_.span(0, kPageSize));
    ASSERT_TRUE(behind_.take(write));
  }
  StartedWrite further = start(100 * kPageSize, data_.span(0, kPageSize));
  EXPECT_FALSE(behind_.take(further));
  EXPECT_EQ(further.memory.data(), data_.data());
  ring_.run_completions();
  EXPECT_EQ(behind_.pending(), 0u);
  EXPECT_TRUE(behind_.take(further));
  ring_.run_completions();
  EXPECT_EQ(outcome(), 0);
}

TEST_F(WriteBehindTest, TakesNoMoreThanItIsAllowed) {
  StartedWrite first = start(kPageSize, data_.span(0, kPageSize));
  StartedWrite second = start(3 * kPageSize, data_.span(0, kPageSize));
  ASSERT_TRUE(behind_.take(first, 1));
  EXPECT_FALSE(behind_.take(second, 1));
  ring_.run_completions();
  EXPECT_TRUE(behind_.take(second, 1));
  ring_.run_completions();
  EXPECT_EQ(outcome(), 0);
}

TEST_F(WriteBehindTest, RefusesLargeWrites) {
  StartedWrite write = start(kPageSize, data_.span());
  EXPECT_FALSE(behind_.take(write));
  EXPECT_EQ(behind_.pending(), 0u);
  writer_->end_write(write, 0);
}

TEST_F(WriteBehindTest, AFailureIsStickyForTheFile) {
  StartedWrite write = start(kPageSize, data_.span(0, kPageSize));
  device_->before_write(
      [](std::uint64_t, ConstByteSpan) { raise(EIO, "test", "write made to fail"); });
  ASSERT_TRUE(behind_.take(write));
  ring_.run_completions();
  EXPECT_EQ(outcome(), EIO);
}

TEST_F(WriteBehindTest, AWriteThatCannotStartIsEndedAndThrown) {
  StartedWrite write = start(kPageSize, data_.span(0, kPageSize));
  write.offset = device_->properties().size;
  EXPECT_EQ(test::error_of([&] { behind_.take(write); }), EINVAL);
  EXPECT_EQ(behind_.pending(), 0u);
  // It has ended: otherwise a drain would wait for it.
  EXPECT_EQ(outcome(), EINVAL);
}

TEST_F(WriteBehindTest, OutlivesTheHandlesOfTheFile) {
  StartedWrite write = start(kPageSize, data_.span(0, kPageSize));
  ASSERT_TRUE(behind_.take(write));
  const std::weak_ptr<ContentWriter> writer = writer_;
  writer_.reset();
  EXPECT_FALSE(writer.expired());
  ring_.run_completions();
  EXPECT_TRUE(writer.expired());
}

// Nothing is copied beyond half of the budget, and the memory goes back.
TEST_F(WriteBehindTest, StaysWithinTheBudget) {
  StartedWrite write = start(kPageSize, data_.span(0, kPageSize));
  ASSERT_TRUE(behind_.take(write));
  EXPECT_EQ(budget_.bytes(), Tunables::WriteBehind{}.slots * Tunables::WriteBehind{}.max_size);
  ring_.run_completions();
  behind_.trim();
  EXPECT_EQ(budget_.bytes(), 0u);
  budget_.take(Tunables::Writing{}.max_bytes / 2);
  StartedWrite next = start(3 * kPageSize, data_.span(0, kPageSize));
  EXPECT_FALSE(behind_.take(next));
  writer_->end_write(next, 0);
  budget_.give(Tunables::Writing{}.max_bytes / 2);
}

// The ring has failed: no caller may wait for transfers in progress.
TEST_F(WriteBehindTest, AbandonedWritesHaveFailed) {
  StartedWrite write = start(kPageSize, data_.span(0, kPageSize));
  ASSERT_TRUE(behind_.take(write));
  behind_.abandon(EIO);
  EXPECT_EQ(behind_.pending(), 0u);
  EXPECT_EQ(outcome(), EIO);
  behind_.abandon(EIO);
  EXPECT_EQ(behind_.pending(), 0u);
}

TEST_F(WriteBehindTest, GatheredDataIsNotCopied) {
  // Small ones are held; a piece that must leave for the last one is the transfer.
  constexpr std::size_t kPart = 64u << 10;
  writer_ = make_writer(little_memory_);
  writer_->set_aside(0, kZoneSize);
  StartedWrite write;
  for (std::uint64_t at = 0; at <= little_memory_.max_per_file(); at += kPart) {
    write = writer_->start_write(at, data_.span(0, kPart));
  }
  ASSERT_EQ(write.kind, StartedWrite::Kind::transfer);
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
}  // namespace mpool

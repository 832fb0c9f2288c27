// Transfers on a ring.
#include "engine/io/transfer.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "engine/io/file_device.h"
#include "engine/io/open.h"
#include "engine/io/overlay_device.h"
#include "tests/engine/io/support.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kTransferSize = 16 << 20;

// Records its result.
class Transfer : public DeviceTransfer {
 public:
  void done(int error) noexcept override {
    ++times;
    result = error;
  }

  std::optional<int> result;
  int times = 0;
};

// Reads the time of its ring in a completion.
struct TimeReader final : RingOperation {
  TimeReader(IoRing& on, const Clock& with) : ring(on), clock(with) {}
  void completed(std::int32_t result) noexcept override {
    switch (result) {
      case 0:
        return times.push_back(ring.recent_time(clock));
      case 1:
        return times.push_back(ring.step_time(clock));
      default:
        return times.push_back(ring.read_time(clock));
    }
  }
  IoRing& ring;
  const Clock& clock;
  std::vector<Clock::Time> times;
};

// Advances each time it is read.
class ReadClock final : public Clock {
 public:
  Time now() const override { return Time(Duration(++reads_)); }
  int reads() const { return reads_; }

 private:
  mutable int reads_ = 0;
};

class EnabledRing : public IoRing {
 public:
  EnabledRing() : IoRing(8, 256) { enable(); }

  // The result of a transfer, which must end.
  int result_of(Transfer& transfer) {
    constexpr int kRounds = 100;
    for (int round = 0; round < kRounds && !transfer.result; ++round)
      step();
    EXPECT_EQ(transfer.times, 1);
    return transfer.result.value_or(-1);
  }
  void step() {
    submit_and_wait(1000);
    run_completions();
  }
};

std::vector<int> ticks(const TimeReader& reader) {
  std::vector<int> found;
  for (const Clock::Time time : reader.times)
    found.push_back(static_cast<int>(time.time_since_epoch().count()));
  return found;
}

TEST(RingTime, IsReadOnceForBeginsAndOnceForTheEndsOfACompletion) {
  EnabledRing ring;
  const ReadClock clock;
  TimeReader reader(ring, clock);
  const auto run = [&](std::initializer_list<int> calls) {
    reader.times.clear();
    for (const int call : calls)
      ring.post(reader, call);
    ring.run_completions();
    return ticks(reader);
  };
  EXPECT_EQ(run({0, 0, 0}), (std::vector{1, 1, 1}));
  EXPECT_EQ(run({0}), (std::vector{2})) << "kept from an earlier run";
  EXPECT_EQ(run({0, 1, 1, 0}), (std::vector{3, 4, 5, 5}));
  EXPECT_EQ(run({2, 2}), (std::vector{6, 7}));
  // In one completion.
  ring.poll();
  const Clock::Time begun = ring.recent_time(clock);
  EXPECT_EQ(ring.step_time(clock), begun);
  EXPECT_GT(ring.read_time(clock), begun);
  EXPECT_EQ(ring.step_time(clock), ring.recent_time(clock));
  const int before = clock.reads();
  ring.poll();
  ring.recent_time(clock);
  EXPECT_EQ(clock.reads(), before + 1) << "the kernel may have taken long";
}

void transfer_and_read_back(Device& device) {
  EnabledRing ring;
  const auto data = page_pattern(300, 1);
  AlignedBuffer read(data.size());
  Transfer writing, reading, beside;
  const auto before = device.counters();
  device.start_write(ring, writing, 5 * kPageSize, data.span());
  EXPECT_FALSE(writing.result);
  EXPECT_EQ(ring.result_of(writing), 0);
  device.start_read(ring, reading, 5 * kPageSize, read.span());
  EXPECT_FALSE(reading.result);
  EXPECT_EQ(ring.result_of(reading), 0);
  EXPECT_TRUE(same(read.span(), data.span()));
  device.start_read(ring, beside, kTransferSize - kPageSize, read.span(0, kPageSize));
  EXPECT_EQ(ring.result_of(beside), 0);
  EXPECT_TRUE(all_zero(read.span(0, kPageSize)));
  const auto after = device.counters();
  EXPECT_EQ(after.reads - before.reads, 2u);
  EXPECT_EQ(after.read_bytes - before.read_bytes, data.size() + kPageSize);
  EXPECT_EQ(after.writes - before.writes, 1u);
  EXPECT_EQ(after.written_bytes - before.written_bytes, data.size());
  EXPECT_EQ(after.errors, before.errors);
}

class TransferTest : public testing::Test {
 protected:
  TransferTest() : path_(directory_ / "image") { create_image_file(path_, kTransferSize); }

  std::unique_ptr<FileDevice> open_file(int flags) {
    FileDescriptor fd(::open(path_.c_str(), flags | O_CLOEXEC));
    if (!fd) raise_system(errno, path_, "open");
    DeviceProperties properties;
    properties.size = kTransferSize;
    properties.is_file = true;
    return std::make_unique<FileDevice>(path_, properties, std::move(fd),
                                        (flags & O_DIRECT) != 0 ? 512 : 1, DeviceLocks());
  }

  TemporaryDirectory directory_;
  std::string path_;
};

TEST_F(TransferTest, WithDirectIo) {
  transfer_and_read_back(*open_file(O_RDWR | O_DIRECT));
}

TEST_F(TransferTest, ThroughThePageCache) {
  transfer_and_read_back(*open_file(O_RDWR));
}

TEST(Transfer, OfABlockDevice) {
  const LoopDevice loop(kTransferSize);
  transfer_and_read_back(*open_device(loop.path(), OpenMode::activate));
}

TEST(Transfer, OfADeviceInMemory) {
  OverlayDevice device("memory", kTransferSize);
  transfer_and_read_back(device);
}

TEST_F(TransferTest, OfAnOverlayAreTheBasesWhereNothingWasWritten) {
  const auto data = page_pattern(8, 5);
  open_file(O_RDWR | O_DIRECT)->write(0, data.span());
  OverlayDevice overlay(open_file(O_RDONLY | O_DIRECT));
  const auto own = page_pattern(1, 9);
  overlay.write(3 * kPageSize, own.span());
  overlay.discard(6 * kPageSize, kPageSize);
  EnabledRing ring;
  AlignedBuffer read(data.size());
  const auto is_on_the_ring = [&](std::size_t page, std::size_t pages) {
    Transfer reading;
    overlay.start_read(ring, reading, page * kPageSize,
                       read.span(page * kPageSize, pages * kPageSize));
    const bool prepared = ring.prepared() > 0;
    EXPECT_EQ(ring.result_of(reading), 0);
    return prepared;
  };
  EXPECT_TRUE(is_on_the_ring(0, 3));
  EXPECT_TRUE(same(read.span(0, 3 * kPageSize), data.span(0, 3 * kPageSize)));
  EXPECT_FALSE(is_on_the_ring(2, 3));
  EXPECT_TRUE(same(read.span(3 * kPageSize, kPageSize), own.span()));
  EXPECT_TRUE(same(read.span(4 * kPageSize, kPageSize), data.span(4 * kPageSize, kPageSize)));
  EXPECT_FALSE(is_on_the_ring(5, 2));
  EXPECT_TRUE(all_zero(read.span(6 * kPageSize, kPageSize)));
  EXPECT_TRUE(is_on_the_ring(7, 1));
  EXPECT_TRUE(same(read.span(7 * kPageSize, kPageSize), data.span(7 * kPageSize, kPageSize)));
  EXPECT_EQ(overlay.counters().reads, 4u);
  EXPECT_EQ(overlay.counters().read_bytes, 9 * kPageSize);
}

TEST_F(TransferTest, ManyAtATime) {
  constexpr std::size_t kPages = 1000;
  constexpr std::size_t kInFlight = 64;  // more than the ring's submissions
  const auto device = open_file(O_RDWR | O_DIRECT);
  const auto data = page_pattern(kPages, 7);
  std::vector<std::size_t> order(kPages);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(11));
  EnabledRing ring;
  AlignedBuffer read(data.size());
  for (const bool writes : {true, false}) {
    std::vector<Transfer> transfers(kPages);
    for (std::size_t i = 0; i < kPages; ++i) {
      const std::size_t at = order[i] * kPageSize;
      if (i >= kInFlight) {
        EXPECT_EQ(ring.result_of(transfers[i - kInFlight]), 0);
      }
      if (writes) {
        device->start_write(ring, transfers[i], at, data.span(at, kPageSize));
      } else {
        device->start_read(ring, transfers[i], at, read.span(at, kPageSize));
      }
    }
    for (Transfer& transfer : transfers)
      EXPECT_EQ(ring.result_of(transfer), 0);
  }
  EXPECT_TRUE(same(read.span(), data.span()));
}

// Reads page after page, each started by the completion of the one before, and then destroys
// itself.
class Chain final : public DeviceTransfer {
 public:
  static constexpr std::size_t kPages = 20;

  Chain(IoRing& ring, Device& device, ByteSpan into, bool& ended)
      : ring_(ring), device_(device), into_(into), ended_(ended) {
    next();
  }
  ~Chain() override { ended_ = true; }

  void done(int error) noexcept override {
    EXPECT_EQ(error, 0);
    if (++page_ == kPages || error != 0) {
      delete this;
    } else {
      next();
    }
  }

 private:
  void next() {
    device_.start_read(ring_, *this, page_ * kPageSize,
                       into_.subspan(page_ * kPageSize, kPageSize));
  }

  IoRing& ring_;
  Device& device_;
  ByteSpan into_;
  bool& ended_;
  std::size_t page_ = 0;
};

TEST_F(TransferTest, MayBeUsedAgainAndEndInItsDone) {
  const auto file = open_file(O_RDWR | O_DIRECT);
  OverlayDevice memory("memory", kTransferSize);
  const auto data = page_pattern(Chain::kPages, 3);
  for (Device* device : {static_cast<Device*>(file.get()), static_cast<Device*>(&memory)}) {
    device->write(0, data.span());
    EnabledRing ring;
    AlignedBuffer read(data.size());
    bool ended = false;
    new Chain(ring, *device, read.span(), ended);
    for (std::size_t round = 0; round < 2 * Chain::kPages && !ended; ++round)
      ring.step();
    ASSERT_TRUE(ended);
    EXPECT_TRUE(same(read.span(), data.span()));
  }
}

TEST_F(TransferTest, ServesMemoryThatIsNotAligned) {
  const auto device = open_file(O_RDWR | O_DIRECT);
  const auto data = page_pattern(5, 3);
  std::vector<std::byte> unaligned(data.size() + 1);
  const ByteSpan memory(unaligned.data() + 1, data.size());
  std::memcpy(memory.data(), data.data(), data.size());
  EnabledRing ring;
  Transfer writing, reading;
  device->start_write(ring, writing, 0, memory);
  EXPECT_EQ(ring.result_of(writing), 0);
  std::memset(memory.data(), 0, memory.size());
  device->start_read(ring, reading, 0, memory);
  EXPECT_EQ(ring.result_of(reading), 0);
  EXPECT_TRUE(same(memory, data.span()));
}

TEST_F(TransferTest, EmptyOnesEndToo) {
  const auto device = open_file(O_RDWR | O_DIRECT);
  EnabledRing ring;
  Transfer reading, writing;
  device->start_read(ring, reading, 0, {});
  device->start_write(ring, writing, kTransferSize, {});
  EXPECT_FALSE(reading.result);
  EXPECT_EQ(ring.result_of(reading), 0);
  EXPECT_EQ(ring.result_of(writing), 0);
  EXPECT_EQ(device->counters().reads, 0u);
}

TEST_F(TransferTest, TheRealEndOfATruncatedFileIsAnError) {
  const auto device = open_file(O_RDWR | O_DIRECT);
  const auto data = page_pattern(4, 5);
  device->write(0, data.span());
  ASSERT_EQ(::truncate(path_.c_str(), 2 * kPageSize), 0);
  EnabledRing ring;
  AlignedBuffer read(data.size());
  Transfer over, beyond, before;
  device->start_read(ring, over, 0, read.span());
  EXPECT_EQ(ring.result_of(over), EIO);
  // The first, short transfer was made.
  EXPECT_TRUE(same(read.span(0, 2 * kPageSize), data.span(0, 2 * kPageSize)));
  device->start_read(ring, beyond, 3 * kPageSize, read.span(0, kPageSize));
  EXPECT_EQ(ring.result_of(beyond), EIO);
  device->start_read(ring, before, 0, read.span(0, kPageSize));
  EXPECT_EQ(ring.result_of(before), 0);
  EXPECT_EQ(device->counters().errors, 2u);
  EXPECT_FALSE(device->offline());
}

TEST_F(TransferTest, AFailedWriteTakesTheDeviceOfflineForWriting) {
  const auto device = open_file(O_RDONLY | O_DIRECT);  // the Device object does not know that
  const auto data = page_pattern(1, 5);
  AlignedBuffer read(kPageSize);
  EnabledRing ring;
  Transfer failing, refused, reading;
  device->start_write(ring, failing, 0, data.span());
  EXPECT_EQ(ring.result_of(failing), EBADF);
  EXPECT_TRUE(device->offline());
  EXPECT_EQ(error_of([&] { device->start_write(ring, refused, 0, data.span()); }, "offline"), EIO);
  EXPECT_EQ(error_of([&] { device->flush(); }, "offline"), EIO);
  device->start_read(ring, reading, 0, read.span());
  EXPECT_EQ(ring.result_of(reading), 0);
  EXPECT_EQ(refused.times, 0);
  EXPECT_EQ(device->counters().errors, 1u);
  EXPECT_EQ(device->counters().written_bytes, 0u);
}

TEST_F(TransferTest, WhatIsRefusedAtOnceIsThrown) {
  const auto device = open_device(path_, OpenMode::inspect);
  AlignedBuffer page(kPageSize);
  EnabledRing ring;
  Transfer transfer;
  EXPECT_EQ(error_of([&] { device->start_read(ring, transfer, 512, page.span()); }, "not aligned"),
            EINVAL);
  EXPECT_EQ(
      error_of([&] { device->start_read(ring, transfer, kTransferSize, page.span()); }, "beyond"),
      EINVAL);
  EXPECT_EQ(
      error_of([&] { device->start_write(ring, transfer, kTransferSize, page.span()); }, "beyond"),
      EINVAL);
  EXPECT_EQ(error_of([&] { device->start_write(ring, transfer, 0, page.span()); }, "reading only"),
            EROFS);
  ring.run_completions();
  EXPECT_EQ(transfer.times, 0);
  EXPECT_EQ(device->counters().reads + device->counters().writes, 0u);
}

// Fails every transfer.
class BrokenDevice : public OverlayDevice {
 public:
  BrokenDevice() : OverlayDevice("broken", kTransferSize) {}

 protected:
  void read_impl(std::uint64_t, ByteSpan) override { raise_system(EIO, name(), "injected"); }
  void write_impl(std::uint64_t, ConstByteSpan) override {
    raise_system(ENOSPC, name(), "injected");
  }
};

TEST(Transfer, FailuresOfTheSynchronousCallsComeThroughDone) {
  BrokenDevice device;
  AlignedBuffer page(kPageSize);
  EnabledRing ring;
  Transfer reading, writing;
  device.start_read(ring, reading, 0, page.span());
  EXPECT_EQ(ring.result_of(reading), EIO);
  EXPECT_FALSE(device.offline());
  device.start_write(ring, writing, 0, page.span());
  EXPECT_EQ(ring.result_of(writing), ENOSPC);
  EXPECT_FALSE(device.offline());
  EXPECT_EQ(device.counters().errors, 2u);
}

}  // namespace
}  // namespace mpool::test

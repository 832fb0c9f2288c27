#include "engine/io/device.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/io/overlay_device.h"
#include "tests/engine/io/support.h"
#include "tests/support/captured_log.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kSmallSize = 16 * kPageSize;

// Counts the operations that reach it and fails on demand.
class FailingDevice : public Device {
 public:
  explicit FailingDevice(bool read_only = false) : Device("failing", make(read_only)) {}

  int fail_with = 0;
  int calls = 0;
  bool offline_during_flush = false;

 protected:
  void read_impl(std::uint64_t, ByteSpan) override { act(); }
  void write_impl(std::uint64_t, ConstByteSpan) override { act(); }
  void flush_impl() override {
    act();
    if (offline_during_flush) {
      // As if a write on another thread failed during this flush.
      fail_with = EIO;
      EXPECT_THROW(write(0, page_pattern(1, 1).span()), Error);
    }
  }
  void discard_impl(std::uint64_t, std::uint64_t) override { act(); }
  void reserve_impl(std::uint64_t, std::uint64_t) override { act(); }

 private:
  static DeviceProperties make(bool read_only) {
    DeviceProperties properties;
    properties.size = kSmallSize;
    properties.read_only = read_only;
    return properties;
  }
  void act() {
    ++calls;
    if (fail_with != 0) raise_system(fail_with, name(), "injected");
  }
};

TEST(Device, RefusesRangesThatAreUnalignedOrOutside) {
  FailingDevice device;
  AlignedBuffer page(kPageSize);
  AlignedBuffer two(2 * kPageSize);
  const auto unaligned = page.span(0, 512);
  EXPECT_EQ(error_of([&] { device.read(512, page.span()); }, "failing: read"), EINVAL);
  EXPECT_EQ(error_of([&] { device.read(0, unaligned); }, "not aligned"), EINVAL);
  EXPECT_EQ(error_of([&] { device.write(0, unaligned); }, "not aligned"), EINVAL);
  EXPECT_EQ(error_of([&] { device.write(kSmallSize, page.span()); }, "beyond the end"), EINVAL);
  EXPECT_EQ(error_of([&] { device.read(kSmallSize - kPageSize, two.span()); }, "beyond the end"),
            EINVAL);
  EXPECT_EQ(error_of([&] { device.discard(kPageSize, 0 - std::uint64_t{kPageSize}); }, "discard"),
            EINVAL);
  EXPECT_EQ(error_of([&] { device.discard(0, 512); }, "not aligned"), EINVAL);
  EXPECT_EQ(device.calls, 0);
  EXPECT_FALSE(device.offline());
  EXPECT_EQ(error_of([&] { device.write(kSmallSize - kPageSize, page.span()); }), 0);
}

TEST(Device, CountsWhatItDoes) {
  FailingDevice device;
  AlignedBuffer pages(3 * kPageSize);
  device.read(0, pages.span());
  device.write(0, pages.span(0, kPageSize));
  device.write(0, pages.span(0, kPageSize));
  device.flush();
  device.discard(0, kPageSize);
  device.fail_with = EIO;
  EXPECT_EQ(error_of([&] { device.read(0, pages.span()); }), EIO);
  const auto counters = device.counters();
  EXPECT_EQ(counters.reads, 2u);
  EXPECT_EQ(counters.read_bytes, 3 * kPageSize);
  EXPECT_EQ(counters.writes, 2u);
  EXPECT_EQ(counters.written_bytes, 2 * kPageSize);
  EXPECT_EQ(counters.flushes, 1u);
  EXPECT_EQ(counters.discards, 1u);
  EXPECT_EQ(counters.errors, 1u);
}

TEST(Device, EmptyTransfersReachNothing) {
  FailingDevice device;
  device.read(0, ByteSpan());
  device.write(kSmallSize, ConstByteSpan());
  device.discard(0, 0);
  EXPECT_EQ(device.calls, 0);
}

TEST(Device, AFailedWriteTakesItOfflineForWriting) {
  const CapturedLog log;
  FailingDevice device;
  device.set_logger(log.logger());
  AlignedBuffer page(kPageSize);
  device.fail_with = EREMOTEIO;
  EXPECT_EQ(error_of([&] { device.write(0, page.span()); }, "failing"), EREMOTEIO);
  EXPECT_TRUE(device.offline());
  device.fail_with = 0;
  const int calls = device.calls;
  EXPECT_EQ(error_of([&] { device.write(0, page.span()); }, "offline for writing"), EIO);
  EXPECT_EQ(error_of([&] { device.flush(); }, "offline for writing"), EIO);
  EXPECT_EQ(error_of([&] { device.discard(0, kPageSize); }, "offline for writing"), EIO);
  EXPECT_EQ(device.calls, calls);
  EXPECT_EQ(error_of([&] { device.read(0, page.span()); }), 0);
  EXPECT_EQ(log.lines_with("goes offline"), 1u);
}

TEST(Device, AWriteWithoutRoomFailsAloneAndPasses) {
  const CapturedLog log;
  FailingDevice device;
  device.set_logger(log.logger());
  AlignedBuffer page(kPageSize);
  for (const int code : {ENOSPC, EDQUOT, EFBIG}) {
    device.fail_with = code;
    EXPECT_EQ(error_of([&] { device.write(0, page.span()); }, "injected"), ENOSPC);
    EXPECT_EQ(error_of([&] { device.reserve(0, kPageSize); }, "injected"), ENOSPC);
  }
  EXPECT_FALSE(device.offline());
  EXPECT_EQ(log.lines_with("no room"), 1u);
  device.fail_with = 0;
  EXPECT_EQ(error_of([&] { device.write(0, page.span()); }), 0);
  EXPECT_EQ(error_of([&] { device.flush(); }), 0);
  device.fail_with = ENOSPC;
  EXPECT_EQ(error_of([&] { device.write(0, page.span()); }), ENOSPC);
  EXPECT_EQ(log.lines_with("no room"), 1u);
  EXPECT_EQ(device.counters().errors, 4u);
  // After a failed flush it is unknown which writes are durable.
  EXPECT_EQ(error_of([&] { device.flush(); }), ENOSPC);
  EXPECT_TRUE(device.offline());
}

TEST(Device, AFailedFlushTakesItOfflineForWriting) {
  FailingDevice device;
  device.fail_with = EIO;
  EXPECT_EQ(error_of([&] { device.flush(); }), EIO);
  EXPECT_TRUE(device.offline());
}

TEST(Device, AFlushDoesNotVouchForAWriteThatFailedMeanwhile) {
  FailingDevice device;
  device.offline_during_flush = true;
  EXPECT_EQ(error_of([&] { device.flush(); }, "offline"), EIO);
}

// The first flush blocks until the test releases it.
class SlowFlushDevice : public OverlayDevice {
 public:
  SlowFlushDevice() : OverlayDevice("slow", kSmallSize) {}

  std::binary_semaphore begun{0};
  std::binary_semaphore go_on{0};
  bool fail = false;

 protected:
  void flush_impl() override {
    if (++flushes_ == 1) {
      begun.release();
      go_on.acquire();
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (fail) raise(EIO, name(), "made to fail");
  }

 private:
  std::atomic<unsigned> flushes_ = 0;
};

TEST(Device, AFlushUnderWayDoesNotCountForAWriteAfterItsBeginning) {
  SlowFlushDevice device;
  std::jthread first([&] { device.flush(); });
  device.begun.acquire();
  std::jthread second([&] { device.flush(); });
  device.go_on.release();
  first.join();
  second.join();
  EXPECT_EQ(device.counters().flushes, 2u);
}

TEST(Device, FlushesThatComeTogetherShareOne) {
  constexpr unsigned kThreads = 8;
  constexpr unsigned kFlushes = 50;
  SlowFlushDevice device;
  device.go_on.release();
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        for (unsigned j = 0; j < kFlushes; ++j)
          device.flush();
      });
    }
  }
  EXPECT_GE(device.counters().flushes, kFlushes);
  EXPECT_LE(device.counters().flushes, kThreads * kFlushes / 2);
}

TEST(Device, AFlushThatFailsFailsForAllWhoWait) {
  SlowFlushDevice device;
  std::atomic<unsigned> failures = 0;
  const auto flush = [&] { failures += error_of([&] { device.flush(); }) == EIO; };
  std::jthread first(flush);
  device.begun.acquire();
  device.fail = true;
  std::vector<std::jthread> others;
  for (unsigned i = 0; i < 4; ++i)
    others.emplace_back(flush);
  device.go_on.release();
  first.join();
  others.clear();
  EXPECT_EQ(failures, 5u);
  EXPECT_EQ(device.counters().flushes, 1u);
}

TEST(Device, FailedReadsAndDiscardsLeaveItOnline) {
  FailingDevice device;
  AlignedBuffer page(kPageSize);
  device.fail_with = EIO;
  EXPECT_EQ(error_of([&] { device.read(0, page.span()); }), EIO);
  EXPECT_EQ(error_of([&] { device.discard(0, kPageSize); }), EIO);
  EXPECT_FALSE(device.offline());
  device.fail_with = 0;
  EXPECT_EQ(error_of([&] { device.write(0, page.span()); }), 0);
}

TEST(Device, OpenedForReadingOnlyRefusesToWriteAndStaysOnline) {
  FailingDevice device(true);
  AlignedBuffer page(kPageSize);
  EXPECT_EQ(error_of([&] { device.write(0, page.span()); }, "reading only"), EROFS);
  EXPECT_EQ(error_of([&] { device.flush(); }), EROFS);
  EXPECT_EQ(error_of([&] { device.discard(0, kPageSize); }), EROFS);
  EXPECT_EQ(error_of([&] { device.read(0, page.span()); }), 0);
  EXPECT_FALSE(device.offline());
  EXPECT_EQ(device.calls, 1);
}

}  // namespace
}  // namespace mpool::test

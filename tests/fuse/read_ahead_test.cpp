#include "fuse/runtime/read_ahead.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "engine/base/bytes.h"
#include "engine/base/error.h"
#include "engine/io/device.h"
#include "engine/io/io_ring.h"
#include "engine/names/names.h"
#include "tests/fuse/idle_file.h"

namespace mpoolfs {
namespace {

using mpool::kPageSize;
using State = ReadAhead::Fetched::State;

constexpr std::size_t kRead = 128u << 10;

std::byte content_at(std::uint64_t offset) {
  return static_cast<std::byte>(offset / kPageSize + 1);
}

// Each page has its own byte. Transfers complete with the ring's next completions.
class PatternDevice final : public mpool::Device {
 public:
  PatternDevice(std::uint64_t size, bool in_memory)
      : Device("pattern", properties_of(size, in_memory)) {}

  std::uint64_t failing_from = UINT64_MAX;

 protected:
  void read_impl(std::uint64_t offset, mpool::ByteSpan into) override {
    if (offset + into.size() > failing_from) mpool::raise(EIO, name(), "read made to fail");
    for (std::size_t at = 0; at < into.size(); at += kPageSize)
      std::memset(into.data() + at, static_cast<int>(content_at(offset + at)), kPageSize);
  }
  void write_impl(std::uint64_t, mpool::ConstByteSpan) override { FAIL() << "a write"; }
  void flush_impl() override {}
  void discard_impl(std::uint64_t, std::uint64_t) override { FAIL() << "a discard"; }

 private:
  static mpool::DeviceProperties properties_of(std::uint64_t size, bool in_memory) {
    mpool::DeviceProperties properties;
    properties.size = size;
    properties.in_memory = in_memory;
    return properties;
  }
};

// A committed file that covers a whole device.
class WholeDevice final : public test::IdleFile {
 public:
  WholeDevice(mpool::InodeNumber inode, std::uint64_t size, bool in_memory = false)
      : IdleFile(inode), device(mpool::round_up(size, kPageSize), in_memory), size_(size) {}

  bool plan_read(std::uint64_t offset, std::size_t length, mpool::ByteSpan memory,
                 mpool::ReadPlan& plan) override {
    EXPECT_GE(memory.size(), length);
    if (offset >= unplannable_from) mpool::raise(ENOMEM, "a file", "planning made to fail");
    plan = {};
    if (offset >= size_) return true;
    plan.length = std::min<std::uint64_t>(length, size_ - offset);
    plan.count = 1;
    plan.transfers[0] = {&device, offset, 0, mpool::round_up(plan.length, kPageSize)};
    return true;
  }

  PatternDevice device;
  std::uint64_t unplannable_from = UINT64_MAX;

 private:
  const std::uint64_t size_;
};

struct WaitingReader final : ReadAhead::Reader {
  void fetched(mpool::ConstByteSpan data, int code) noexcept override {
    ++calls;
    error = code;
    bytes.assign(data.begin(), data.end());
  }
  void wake() noexcept override { ++wakes; }
  int calls = 0;
  int wakes = 0;
  int error = 0;
  std::vector<std::byte> bytes;
};

class ReadAheadTest : public testing::Test {
 protected:
  ReadAheadTest() { ring_.enable(); }

  ReadAhead::Fetched fetch(WholeDevice& file, std::uint64_t offset, std::size_t size = kRead,
                           bool alone = true) {
    return ahead_.fetch(file, offset, size, alone, reader_);
  }
  void complete() { ring_.run_completions(); }
  // The first reads: that of the start and the one after it.
  void begin(WholeDevice& file) {
    EXPECT_EQ(fetch(file, 0).state, State::absent);
    EXPECT_EQ(fetch(file, kRead).state, State::absent);
  }

  mpool::IoRing ring_{8, 64};
  WaitingReader reader_;
  WholeDevice file_{5, 100 * kRead};
  ReadAhead::Store store_{1};
  ReadAhead ahead_{ring_, store_};
};

TEST_F(ReadAheadTest, FetchesOnceReadsFollowOneAnother) {
  EXPECT_EQ(fetch(file_, 0).state, State::absent);
  EXPECT_EQ(ahead_.pending(), 0u);
  EXPECT_EQ(fetch(file_, kRead).state, State::absent);
  EXPECT_EQ(ahead_.pending(), ReadAhead::kAhead);
  complete();
  EXPECT_EQ(ahead_.pending(), 0u);
  for (std::uint64_t offset = 2 * kRead; offset < 20 * kRead; offset += kRead) {
    const ReadAhead::Fetched found = fetch(file_, offset);
    ASSERT_EQ(found.state, State::here);
    ASSERT_EQ(found.data.size(), kRead);
    for (std::size_t at = 0; at < kRead; at += kPageSize)
      ASSERT_EQ(found.data[at], content_at(offset + at));
    complete();
  }
  EXPECT_EQ(reader_.calls, 0);
  EXPECT_EQ(file_.device.counters().reads, 18 + ReadAhead::kAhead);
}

TEST_F(ReadAheadTest, WhoComesEarlyWaits) {
  begin(file_);
  EXPECT_EQ(fetch(file_, 2 * kRead).state, State::coming);
  EXPECT_EQ(reader_.calls, 0);
  complete();
  EXPECT_EQ(reader_.calls, 1);
  EXPECT_EQ(reader_.error, 0);
  ASSERT_EQ(reader_.bytes.size(), kRead);
  EXPECT_EQ(reader_.bytes.front(), content_at(2 * kRead));
  EXPECT_EQ(reader_.bytes.back(), content_at(3 * kRead - 1));
}

TEST_F(ReadAheadTest, OneWaitsForEach) {
  begin(file_);
  EXPECT_EQ(fetch(file_, 2 * kRead).state, State::coming);
  WholeDevice same(5, 100 * kRead);
  WaitingReader second;
  fetch(same, 0);
  fetch(same, kRead);
  EXPECT_EQ(ahead_.fetch(same, 2 * kRead, kRead, true, second).state, State::absent);
  complete();
  EXPECT_EQ(reader_.calls, 1);
  EXPECT_EQ(second.calls, 0);
}

TEST_F(ReadAheadTest, RandomReadsFetchNothing) {
  for (const std::uint64_t block : {7u, 3u, 90u, 5u, 50u, 1u, 9u})
    EXPECT_EQ(fetch(file_, block * kRead).state, State::absent);
  EXPECT_EQ(ahead_.pending(), 0u);
}

TEST_F(ReadAheadTest, WhoHasOtherReadsUnderWayFetchesNothing) {
  for (std::uint64_t i = 0; i < 4; ++i)
    EXPECT_EQ(fetch(file_, i * kRead, kRead, false).state, State::absent);
  EXPECT_EQ(ahead_.pending(), 0u);
  // A single lone read may be the first of several.
  EXPECT_EQ(fetch(file_, 4 * kRead).state, State::absent);
  EXPECT_EQ(ahead_.pending(), 0u);
  EXPECT_EQ(fetch(file_, 5 * kRead).state, State::absent);
  EXPECT_EQ(ahead_.pending(), ReadAhead::kAhead);
  complete();
  // Data prefetched before is used.
  EXPECT_EQ(fetch(file_, 6 * kRead, kRead, false).state, State::here);
  EXPECT_EQ(ahead_.pending(), 0u);
}

TEST_F(ReadAheadTest, SizesOutOfBoundsAreNotFollowed) {
  for (const std::size_t size : {kPageSize, 2 * ReadAhead::kMaxSize, kRead + 512}) {
    for (std::uint64_t i = 0; i < 4; ++i)
      EXPECT_EQ(fetch(file_, i * size, size).state, State::absent);
    EXPECT_EQ(ahead_.pending(), 0u);
  }
}

TEST_F(ReadAheadTest, AnotherSizeIsNotWhatWasFetched) {
  begin(file_);
  complete();
  EXPECT_EQ(fetch(file_, 2 * kRead, 2 * kRead).state, State::absent);
}

TEST_F(ReadAheadTest, EndsWithTheFile) {
  WholeDevice file(6, 3 * kRead + 100);
  begin(file);
  complete();
  EXPECT_EQ(fetch(file, 2 * kRead).state, State::here);
  const ReadAhead::Fetched last = fetch(file, 3 * kRead);
  EXPECT_EQ(last.state, State::here);
  EXPECT_EQ(last.data.size(), 100u);
  EXPECT_EQ(ahead_.pending(), 0u);
  EXPECT_EQ(fetch(file, 4 * kRead).state, State::absent);
}

TEST_F(ReadAheadTest, AFailureIsTheWaitersOrNobodys) {
  file_.device.failing_from = 2 * kRead + kPageSize;
  begin(file_);
  EXPECT_EQ(fetch(file_, 2 * kRead).state, State::coming);
  complete();
  EXPECT_EQ(reader_.calls, 1);
  EXPECT_EQ(reader_.error, EIO);
  // A prefetch that failed without a waiting reader: the caller reads the data itself.
  EXPECT_EQ(fetch(file_, 3 * kRead).state, State::absent);
  complete();
  EXPECT_EQ(reader_.calls, 1);
}

TEST_F(ReadAheadTest, IsBoundedWhateverTheNumberOfFiles) {
  std::vector<std::unique_ptr<WholeDevice>> files;
  for (mpool::InodeNumber inode = 10; inode < 30; ++inode) {
    files.push_back(std::make_unique<WholeDevice>(inode, 100 * kRead));
    begin(*files.back());
    EXPECT_LE(ahead_.pending(), ReadAhead::kPlaces);
  }
  complete();
  // The most recent ones are followed, and take the places of those that are no longer followed.
  for (std::uint64_t offset = 2 * kRead; offset < 6 * kRead; offset += kRead) {
    fetch(*files.back(), offset);
    complete();
  }
  EXPECT_EQ(fetch(*files.back(), 6 * kRead).state, State::here);
}

TEST_F(ReadAheadTest, AnotherFileDoesNotGetIt) {
  begin(file_);
  complete();
  WholeDevice other(6, 100 * kRead);
  EXPECT_EQ(fetch(other, kRead).state, State::absent);
  EXPECT_EQ(fetch(other, 2 * kRead).state, State::absent);
}

// The request being answered does not depend on prefetches for later ones.
TEST_F(ReadAheadTest, WhatCannotBePlannedDoesNotHarmWhoWaits) {
  begin(file_);
  file_.unplannable_from = (2 + ReadAhead::kAhead) * kRead;
  EXPECT_EQ(fetch(file_, 2 * kRead).state, State::coming);
  EXPECT_EQ(ahead_.pending(), ReadAhead::kAhead);
  complete();
  EXPECT_EQ(reader_.calls, 1);
  EXPECT_EQ(reader_.error, 0);
  EXPECT_EQ(reader_.bytes.size(), kRead);
}

TEST_F(ReadAheadTest, TrimForgetsWhatIsNotUnderWay) {
  begin(file_);
  ahead_.trim();
  EXPECT_EQ(ahead_.pending(), ReadAhead::kAhead);
  complete();
  ahead_.trim();
  EXPECT_EQ(fetch(file_, 2 * kRead).state, State::absent);
}

TEST_F(ReadAheadTest, MemoryIsReadByWhoAsks) {
  WholeDevice file(7, 100 * kRead, true);
  begin(file);
  EXPECT_EQ(ahead_.pending(), 0u);
  EXPECT_EQ(file.device.counters().reads, 0u);
}

// A reader that the system moves between two CPUs.
class MovedReaderTest : public ReadAheadTest {
 protected:
  MovedReaderTest() { other_ring_.enable(); }

  ReadAhead::Fetched fetch_there(std::uint64_t offset) {
    return there_.fetch(file_, offset, kRead, true, reader_);
  }

  mpool::IoRing other_ring_{8, 64};
  ReadAhead there_{other_ring_, store_};
};

TEST_F(MovedReaderTest, FindsWhatWasFetchedAndGoesOn) {
  begin(file_);
  complete();
  for (std::uint64_t offset = 2 * kRead; offset < 20 * kRead; offset += 2 * kRead) {
    const ReadAhead::Fetched found = fetch_there(offset);
    ASSERT_EQ(found.state, State::here) << offset;
    ASSERT_EQ(found.data.front(), content_at(offset));
    EXPECT_EQ(there_.pending() + ahead_.pending(), 1u);
    other_ring_.run_completions();
    ASSERT_EQ(fetch(file_, offset + kRead).state, State::here) << offset;
    complete();
  }
  EXPECT_EQ(file_.device.counters().reads, 18 + ReadAhead::kAhead);
}

TEST_F(MovedReaderTest, IsWokenWhereHeIs) {
  begin(file_);
  EXPECT_EQ(fetch_there(2 * kRead).state, State::coming);
  EXPECT_EQ(there_.pending(), 1u);
  complete();
  EXPECT_EQ(reader_.wakes, 1);
  EXPECT_EQ(reader_.calls, 0);
  // Until then no other read gets the place.
  other_ring_.run_completions();
  ahead_.trim();
  there_.collect(reader_);
  EXPECT_EQ(reader_.calls, 1);
  EXPECT_EQ(reader_.error, 0);
  ASSERT_EQ(reader_.bytes.size(), kRead);
  EXPECT_EQ(reader_.bytes.back(), content_at(3 * kRead - 1));
}

TEST_F(MovedReaderTest, IsToldOfAFailure) {
  file_.device.failing_from = 2 * kRead;
  begin(file_);
  EXPECT_EQ(fetch_there(2 * kRead).state, State::coming);
  complete();
  there_.collect(reader_);
  EXPECT_EQ(reader_.calls, 1);
  EXPECT_EQ(reader_.error, EIO);
}

// Each ring has a reader of its own on the same file, and both share one that changes rings.
TEST(ReadAheadThreads, EachGetsWhatHeAskedFor) {
  constexpr std::uint64_t kReads = 400;
  constexpr int kThreads = 2;
  WholeDevice file(5, kReads * kRead);
  ReadAhead::Store store(kThreads);
  std::atomic<std::uint64_t> next = 0;
  std::barrier turn(kThreads);
  const auto work = [&](int number) {
    mpool::IoRing ring(8, 64);
    ring.enable();
    ReadAhead ahead(ring, store);
    std::atomic<bool> woken = false;
    struct Moved final : ReadAhead::Reader {
      explicit Moved(std::atomic<bool>& flag) : woken(flag) {}
      void fetched(mpool::ConstByteSpan data, int error) noexcept override {
        EXPECT_EQ(error, 0);
        first = data.front();
        done = true;
      }
      void wake() noexcept override { woken = true; }
      std::atomic<bool>& woken;
      std::byte first{};
      bool done = false;
    } reader(woken);
    const auto read = [&](std::uint64_t offset) {
      reader.done = false;
      const ReadAhead::Fetched found = ahead.fetch(file, offset, kRead, true, reader);
      if (found.state == State::here) {
        EXPECT_EQ(found.data.front(), content_at(offset));
      }
      if (found.state != State::coming) return;
      while (!reader.done) {
        ring.run_completions();
        if (woken.exchange(false)) ahead.collect(reader);
      }
      EXPECT_EQ(reader.first, content_at(offset));
    };
    for (std::uint64_t own = 0; own < kReads; ++own) {
      turn.arrive_and_wait();
      read(own * kRead);
      if (own % kThreads == static_cast<std::uint64_t>(number)) read(next++ * kRead);
      ring.run_completions();
    }
    while (ahead.pending() > 0)
      ring.run_completions();
    turn.arrive_and_wait();
  };
  std::thread other(work, 1);
  work(0);
  other.join();
}

}  // namespace
}  // namespace mpoolfs

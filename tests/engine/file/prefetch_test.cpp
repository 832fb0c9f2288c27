#include "engine/file/prefetch.h"

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
#include "engine/file/open_file.h"
#include "engine/io/device.h"
#include "engine/io/io_ring.h"
#include "tests/engine/file/pattern_file.h"
#include "tests/fuse/idle_file.h"

namespace mpool {
namespace {

using State = Prefetch::Fetched::State;
using test::content_at;
using test::kRead;
using test::WholeDevice;

struct WaitingReader final : Prefetch::Reader {
  void fetched(ConstByteSpan data, int code) noexcept override {
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

class PrefetchTest : public testing::Test {
 protected:
  PrefetchTest() { ring_.enable(); }

  Prefetch::Fetched fetch(WholeDevice& file, std::uint64_t offset, std::size_t size = kRead,
                          bool alone = true) {
    return ahead_.fetch(file, offset, size, alone, reader_);
  }
  void complete() { ring_.run_completions(); }
  // The first reads: that of the start and the one after it.
  void begin(WholeDevice& file) {
    EXPECT_EQ(fetch(file, 0).state, State::absent);
    EXPECT_EQ(fetch(file, kRead).state, State::absent);
  }

  IoRing ring_{8, 64};
  WaitingReader reader_;
  WholeDevice file_{5, 100 * kRead};
  WriteMemory budget_;
  Prefetch::Store store_{1, budget_};
  Prefetch ahead_{ring_, store_};
};

TEST_F(PrefetchTest, FetchesOnceReadsFollowOneAnother) {
  EXPECT_EQ(fetch(file_, 0).state, State::absent);
  EXPECT_EQ(ahead_.pending(), 0u);
  EXPECT_EQ(fetch(file_, kRead).state, State::absent);
  EXPECT_EQ(ahead_.pending(), Tunables::Prefetch{}.ahead);
  complete();
  EXPECT_EQ(ahead_.pending(), 0u);
  for (std::uint64_t offset = 2 * kRead; offset < 20 * kRead; offset += kRead) {
    const Prefetch::Fetched found = fetch(file_, offset);
    ASSERT_EQ(found.state, State::ready);
    ASSERT_EQ(found.data.size(), kRead);
    for (std::size_t at = 0; at < kRead; at += kPageSize)
      ASSERT_EQ(found.data[at], content_at(offset + at));
    complete();
  }
  EXPECT_EQ(reader_.calls, 0);
  EXPECT_EQ(file_.device.counters().reads, 18 + Tunables::Prefetch{}.ahead);
}

TEST_F(PrefetchTest, AnEarlyReadIsPending) {
  begin(file_);
  EXPECT_EQ(fetch(file_, 2 * kRead).state, State::pending);
  EXPECT_EQ(reader_.calls, 0);
  complete();
  EXPECT_EQ(reader_.calls, 1);
  EXPECT_EQ(reader_.error, 0);
  ASSERT_EQ(reader_.bytes.size(), kRead);
  EXPECT_EQ(reader_.bytes.front(), content_at(2 * kRead));
  EXPECT_EQ(reader_.bytes.back(), content_at(3 * kRead - 1));
}

TEST_F(PrefetchTest, OneReadIsPendingForEach) {
  begin(file_);
  EXPECT_EQ(fetch(file_, 2 * kRead).state, State::pending);
  WholeDevice same(5, 100 * kRead);
  WaitingReader second;
  fetch(same, 0);
  fetch(same, kRead);
  EXPECT_EQ(ahead_.fetch(same, 2 * kRead, kRead, true, second).state, State::absent);
  complete();
  EXPECT_EQ(reader_.calls, 1);
  EXPECT_EQ(second.calls, 0);
}

TEST_F(PrefetchTest, RandomReadsPrefetchNothing) {
  for (const std::uint64_t block : {7u, 3u, 90u, 5u, 50u, 1u, 9u})
    EXPECT_EQ(fetch(file_, block * kRead).state, State::absent);
  EXPECT_EQ(ahead_.pending(), 0u);
}

TEST_F(PrefetchTest, ReadersWithSeveralReadsInFlightPrefetchNothing) {
  for (std::uint64_t i = 0; i < 4; ++i)
    EXPECT_EQ(fetch(file_, i * kRead, kRead, false).state, State::absent);
  EXPECT_EQ(ahead_.pending(), 0u);
  // A single lone read may be the first of several.
  EXPECT_EQ(fetch(file_, 4 * kRead).state, State::absent);
  EXPECT_EQ(ahead_.pending(), 0u);
  EXPECT_EQ(fetch(file_, 5 * kRead).state, State::absent);
  EXPECT_EQ(ahead_.pending(), Tunables::Prefetch{}.ahead);
  complete();
  // Data prefetched before is used.
  EXPECT_EQ(fetch(file_, 6 * kRead, kRead, false).state, State::ready);
  EXPECT_EQ(ahead_.pending(), 0u);
}

TEST_F(PrefetchTest, SizesOutOfBoundsAreNotFollowed) {
  for (const std::size_t size : {kPageSize, 2 * Tunables::Prefetch{}.max_size, kRead + 512}) {
    for (std::uint64_t i = 0; i < 4; ++i)
      EXPECT_EQ(fetch(file_, i * size, size).state, State::absent);
    EXPECT_EQ(ahead_.pending(), 0u);
  }
}

TEST_F(PrefetchTest, AnotherSizeIsNotWhatWasFetched) {
  begin(file_);
  complete();
  EXPECT_EQ(fetch(file_, 2 * kRead, 2 * kRead).state, State::absent);
}

TEST_F(PrefetchTest, EndsWithTheFile) {
  WholeDevice file(6, 3 * kRead + 100);
  begin(file);
  complete();
  EXPECT_EQ(fetch(file, 2 * kRead).state, State::ready);
  const Prefetch::Fetched last = fetch(file, 3 * kRead);
  EXPECT_EQ(last.state, State::ready);
  EXPECT_EQ(last.data.size(), 100u);
  EXPECT_EQ(ahead_.pending(), 0u);
  EXPECT_EQ(fetch(file, 4 * kRead).state, State::absent);
}

TEST_F(PrefetchTest, AFailureGoesToThePendingReadOnly) {
  file_.device.failing_from = 2 * kRead + kPageSize;
  begin(file_);
  EXPECT_EQ(fetch(file_, 2 * kRead).state, State::pending);
  complete();
  EXPECT_EQ(reader_.calls, 1);
  EXPECT_EQ(reader_.error, EIO);
  // A prefetch that failed without a waiting reader: the caller reads the data itself.
  EXPECT_EQ(fetch(file_, 3 * kRead).state, State::absent);
  complete();
  EXPECT_EQ(reader_.calls, 1);
}

TEST_F(PrefetchTest, IsBoundedWhateverTheNumberOfFiles) {
  std::vector<std::unique_ptr<WholeDevice>> files;
  for (std::uint64_t id = 10; id < 30; ++id) {
    files.push_back(std::make_unique<WholeDevice>(id, 100 * kRead));
    begin(*files.back());
    EXPECT_LE(ahead_.pending(), Tunables::Prefetch{}.slots());
  }
  complete();
  // The most recent ones are followed, and take the places of those that are no longer followed.
  for (std::uint64_t offset = 2 * kRead; offset < 6 * kRead; offset += kRead) {
    fetch(*files.back(), offset);
    complete();
  }
  EXPECT_EQ(fetch(*files.back(), 6 * kRead).state, State::ready);
}

TEST_F(PrefetchTest, AnotherFileDoesNotGetIt) {
  begin(file_);
  complete();
  WholeDevice other(6, 100 * kRead);
  EXPECT_EQ(fetch(other, kRead).state, State::absent);
  EXPECT_EQ(fetch(other, 2 * kRead).state, State::absent);
}

// The request being answered does not depend on prefetches for later ones.
TEST_F(PrefetchTest, AFailedPlanDoesNotHarmThePendingRead) {
  begin(file_);
  file_.unplannable_from = (2 + Tunables::Prefetch{}.ahead) * kRead;
  EXPECT_EQ(fetch(file_, 2 * kRead).state, State::pending);
  EXPECT_EQ(ahead_.pending(), Tunables::Prefetch{}.ahead);
  complete();
  EXPECT_EQ(reader_.calls, 1);
  EXPECT_EQ(reader_.error, 0);
  EXPECT_EQ(reader_.bytes.size(), kRead);
}

TEST_F(PrefetchTest, TrimForgetsWhatIsNotUnderWay) {
  begin(file_);
  ahead_.trim();
  EXPECT_EQ(ahead_.pending(), Tunables::Prefetch{}.ahead);
  complete();
  ahead_.trim();
  EXPECT_EQ(fetch(file_, 2 * kRead).state, State::absent);
}

TEST_F(PrefetchTest, NothingIsPrefetchedFromMemory) {
  WholeDevice file(7, 100 * kRead, true);
  begin(file);
  EXPECT_EQ(ahead_.pending(), 0u);
  EXPECT_EQ(file.device.counters().reads, 0u);
}

// Nothing is prefetched beyond half of the budget, and the memory goes back.
TEST_F(PrefetchTest, StaysWithinTheBudget) {
  begin(file_);
  complete();
  EXPECT_GE(budget_.bytes(), Tunables::Prefetch{}.slots() * Tunables::Prefetch{}.max_size);
  ahead_.trim();
  EXPECT_EQ(budget_.bytes(), 0u);
  budget_.take(Tunables::Writing{}.max_bytes / 2);
  begin(file_);
  EXPECT_EQ(ahead_.pending(), 0u);
  budget_.give(Tunables::Writing{}.max_bytes / 2);
}

// A reader that the system moves between two CPUs.
class MovedReaderTest : public PrefetchTest {
 protected:
  MovedReaderTest() { other_ring_.enable(); }

  Prefetch::Fetched fetch_there(std::uint64_t offset) {
    return there_.fetch(file_, offset, kRead, true, reader_);
  }

  IoRing other_ring_{8, 64};
  Prefetch there_{other_ring_, store_};
};

TEST_F(MovedReaderTest, FindsWhatWasFetchedAndGoesOn) {
  begin(file_);
  complete();
  for (std::uint64_t offset = 2 * kRead; offset < 20 * kRead; offset += 2 * kRead) {
    const Prefetch::Fetched found = fetch_there(offset);
    ASSERT_EQ(found.state, State::ready) << offset;
    ASSERT_EQ(found.data.front(), content_at(offset));
    EXPECT_EQ(there_.pending() + ahead_.pending(), 1u);
    other_ring_.run_completions();
    ASSERT_EQ(fetch(file_, offset + kRead).state, State::ready) << offset;
    complete();
  }
  EXPECT_EQ(file_.device.counters().reads, 18 + Tunables::Prefetch{}.ahead);
}

TEST_F(MovedReaderTest, IsWokenOnItsRing) {
  begin(file_);
  EXPECT_EQ(fetch_there(2 * kRead).state, State::pending);
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

TEST_F(MovedReaderTest, GetsTheError) {
  file_.device.failing_from = 2 * kRead;
  begin(file_);
  EXPECT_EQ(fetch_there(2 * kRead).state, State::pending);
  complete();
  there_.collect(reader_);
  EXPECT_EQ(reader_.calls, 1);
  EXPECT_EQ(reader_.error, EIO);
}

// Each ring has a reader of its own on the same file, and both share one that changes rings.
TEST(PrefetchThreads, EachReadGetsItsData) {
  constexpr std::uint64_t kReads = 400;
  constexpr int kThreads = 2;
  WholeDevice file(5, kReads * kRead);
  WriteMemory budget;
  Prefetch::Store store(kThreads, budget);
  std::atomic<std::uint64_t> next = 0;
  std::barrier turn(kThreads);
  const auto work = [&](int number) {
    IoRing ring(8, 64);
    ring.enable();
    Prefetch ahead(ring, store);
    std::atomic<bool> woken = false;
    struct Moved final : Prefetch::Reader {
      explicit Moved(std::atomic<bool>& flag) : woken(flag) {}
      void fetched(ConstByteSpan data, int error) noexcept override {
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
      const Prefetch::Fetched found = ahead.fetch(file, offset, kRead, true, reader);
      if (found.state == State::ready) {
        EXPECT_EQ(found.data.front(), content_at(offset));
      }
      if (found.state != State::pending) return;
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
}  // namespace mpool

#include "engine/space/discard_queue.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "engine/base/aligned_buffer.h"
#include "engine/io/overlay_device.h"
#include "tests/engine/space/support.h"
#include "tests/support/captured_log.h"
#include "tests/support/stepped_clock.h"

namespace mpool::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;

constexpr std::uint64_t kZoneSize = 1 << 20;
constexpr std::uint32_t kZones = 1000;
constexpr const char* kJob = "discard";
constexpr auto kUsable = SpacePolicy::usable_only;
constexpr auto kLong = std::chrono::duration_cast<milliseconds>(minutes(2));

struct Discard {
  std::uint64_t offset, length;
  bool operator==(const Discard&) const = default;
};

// Records discards; blocks them and fails on demand.
class DiscardRecorder : public Device {
 public:
  DiscardRecorder() : Device("recorder", make()) {}

  std::atomic<bool> claimed_by_another = false;
  int claim() override { return claimed_by_another ? EBUSY : 0; }

  void hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  void let_go() {
    const std::lock_guard lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }
  void fail(int code) {
    const std::lock_guard lock(mutex_);
    fail_with_ = code;
  }
  // Waits until this many discards have arrived (blocked ones included).
  bool wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLong, [&] { return discards_.size() >= count; });
  }
  std::vector<Discard> discards() const {
    const std::lock_guard lock(mutex_);
    return discards_;
  }

 protected:
  void read_impl(std::uint64_t, ByteSpan) override {}
  void write_impl(std::uint64_t, ConstByteSpan) override {}
  void flush_impl() override {}
  void discard_impl(std::uint64_t offset, std::uint64_t length) override {
    std::unique_lock lock(mutex_);
    discards_.push_back({offset, length});
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_; });
    if (fail_with_ != 0) raise_system(fail_with_, name(), "injected discard failure");
  }

 private:
  static DeviceProperties make() {
    DeviceProperties properties;
    properties.size = kZones * kZoneSize;
    return properties;
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Discard> discards_;
  bool held_ = false;
  int fail_with_ = 0;
};

class DiscardQueueTest : public testing::Test {
 protected:
  DiscardQueueTest() : map_("recorder", kZones, 0, 1) { map_.insert(0, kZones); }

  // Lets a queue of a zone per second discard once; the next discard is due in 256 seconds.
  void use_up_rate(DiscardQueue& queue) {
    queue.add(0, 256);
    ASSERT_TRUE(device_.wait_for(1));
    queue.add(600, 1);
    clock_.await_wait(std::chrono::seconds(256));
  }

  DiscardRecorder device_;
  SpaceMap map_;
  SteppedClock clock_;
  JobScheduler jobs_{clock_};
};

TEST_F(DiscardQueueTest, ReleasesZonesOnlyAfterTheirDiscard) {
  device_.hold();
  DiscardQueue queue(device_, map_, kZoneSize, jobs_, kJob);
  queue.add(10, 3);
  ASSERT_TRUE(device_.wait_for(1));
  EXPECT_EQ(map_.usage().pending, 3u);
  EXPECT_EQ(map_.allocate(1, kUsable), std::nullopt);
  EXPECT_FALSE(queue.drain(milliseconds(0)));
  device_.let_go();
  ASSERT_TRUE(queue.drain(kLong));
  EXPECT_EQ(device_.discards(), (std::vector<Discard>{{10 * kZoneSize, 3 * kZoneSize}}));
  EXPECT_EQ(map_.usage().pending, 0u);
  EXPECT_EQ(map_.allocate(3, kUsable), 10u);
}

TEST_F(DiscardQueueTest, CoalescesNeighbours) {
  device_.hold();
  DiscardQueue queue(device_, map_, kZoneSize, jobs_, kJob);
  queue.add(500, 1);
  ASSERT_TRUE(device_.wait_for(1));
  // Forwards, backwards, and into a gap; 40 stands alone.
  queue.add(20, 2);
  queue.add(22, 1);
  queue.add(26, 2);
  queue.add(23, 3);
  queue.add(19, 1);
  queue.add(40, 1);
  device_.let_go();
  ASSERT_TRUE(queue.drain(kLong));
  EXPECT_EQ(device_.discards(), (std::vector<Discard>{{500 * kZoneSize, kZoneSize},
                                                      {19 * kZoneSize, 9 * kZoneSize},
                                                      {40 * kZoneSize, kZoneSize}}));
  EXPECT_EQ(map_.usage().free_usable, 11u);
}

TEST_F(DiscardQueueTest, SplitsLargeRanges) {
  DiscardQueue queue(device_, map_, kZoneSize, jobs_, kJob);
  queue.add(0, 600);
  ASSERT_TRUE(queue.drain(kLong));
  EXPECT_EQ(device_.discards(), (std::vector<Discard>{{0, 256 * kZoneSize},
                                                      {256 * kZoneSize, 256 * kZoneSize},
                                                      {512 * kZoneSize, 88 * kZoneSize}}));
  EXPECT_EQ(map_.usage().free_usable, 600u);
}

TEST_F(DiscardQueueTest, KeepsToItsRate) {
  DiscardQueue queue(device_, map_, kZoneSize, jobs_, kJob, {.bytes_per_second = kZoneSize});
  use_up_rate(queue);
  clock_.advance(std::chrono::seconds(255));
  clock_.await_wait(std::chrono::seconds(1));
  EXPECT_EQ(device_.discards().size(), 1u);
  clock_.advance(std::chrono::seconds(1));
  EXPECT_TRUE(device_.wait_for(2));
}

TEST_F(DiscardQueueTest, ExceedsItsRateForDrain) {
  DiscardQueue queue(device_, map_, kZoneSize, jobs_, kJob, {.bytes_per_second = kZoneSize});
  use_up_rate(queue);
  EXPECT_TRUE(queue.drain(kLong));
  EXPECT_EQ(device_.discards().size(), 2u);
  EXPECT_EQ(map_.usage().free_usable, 257u);
}

TEST_F(DiscardQueueTest, WithoutALimitItNeverWaits) {
  DiscardQueue queue(device_, map_, kZoneSize, jobs_, kJob, {.bytes_per_second = 0});
  queue.add(0, 1);
  queue.add(10, 1);
  EXPECT_TRUE(device_.wait_for(2));
}

TEST_F(DiscardQueueTest, FailuresAreLoggedOnceAndZonesReleased) {
  const CapturedLog log;
  device_.set_logger(log.logger());
  device_.fail(EIO);
  {
    DiscardQueue queue(device_, map_, kZoneSize, jobs_, kJob);
    queue.add(0, 2);
    ASSERT_TRUE(queue.drain(kLong));
    queue.add(5, 2);
    ASSERT_TRUE(queue.drain(kLong));
  }
  EXPECT_EQ(map_.usage().free_usable, 4u);
  EXPECT_EQ(log.lines_with("injected discard failure"), 1u);
}

TEST_F(DiscardQueueTest, RefusesZonesThatAreNotUsed) {
  DiscardQueue queue(device_, map_, kZoneSize, jobs_, kJob);
  queue.add(0, 1);
  ASSERT_TRUE(queue.drain(kLong));
  EXPECT_EQ(error_of([&] { queue.add(0, 1); }), EINVAL);
  EXPECT_EQ(error_of([&] { queue.add(kZones, 1); }), EINVAL);
  EXPECT_TRUE(queue.drain(kLong));
  EXPECT_EQ(device_.discards().size(), 1u);
}

TEST_F(DiscardQueueTest, DiscardsWhatIsLeftAtItsEnd) {
  {
    DiscardQueue queue(device_, map_, kZoneSize, jobs_, kJob, {.bytes_per_second = 25});
    queue.add(0, 256);
    ASSERT_TRUE(device_.wait_for(1));
    queue.add(300, 2);
    queue.add(400, 2);
  }
  EXPECT_EQ(device_.discards().size(), 3u);
  EXPECT_EQ(map_.usage().free_usable, 260u);
  EXPECT_EQ(map_.usage().pending, 0u);
}

TEST_F(DiscardQueueTest, EndsWithoutDiscardsWhereAnotherProgramHasTheDevice) {
  {
    DiscardQueue queue(device_, map_, kZoneSize, jobs_, kJob, {.bytes_per_second = 25});
    queue.add(0, 256);
    ASSERT_TRUE(device_.wait_for(1));
    queue.add(300, 2);
    device_.claimed_by_another = true;
  }
  EXPECT_EQ(device_.discards().size(), 1u);
  EXPECT_EQ(map_.usage().free_usable, 258u);
}

TEST_F(DiscardQueueTest, ShowsItsProgress) {
  device_.hold();
  DiscardQueue queue(device_, map_, kZoneSize, jobs_, kJob, {.bytes_per_second = kZoneSize});
  queue.add(0, 600);
  ASSERT_TRUE(device_.wait_for(1));
  device_.let_go();
  clock_.await_wait(std::chrono::seconds(256));
  const JobInfo info = jobs_.list().at(0);
  EXPECT_EQ(info.options.name, kJob);
  EXPECT_EQ(info.options.bytes_per_second, kZoneSize);
  EXPECT_EQ(info.state, JobState::waiting);
  EXPECT_EQ(info.done, 256u);
  EXPECT_EQ(info.total, 600u);
  EXPECT_EQ(info.bytes, 256 * kZoneSize);
}

TEST_F(DiscardQueueTest, ReleasesZonesOfACancelledRun) {
  DiscardQueue queue(device_, map_, kZoneSize, jobs_, kJob, {.bytes_per_second = kZoneSize});
  use_up_rate(queue);
  queue.add(700, 5);
  jobs_.cancel(kJob);
  while (jobs_.list().at(0).state != JobState::idle)
    std::this_thread::yield();
  EXPECT_EQ(device_.discards().size(), 1u);
  EXPECT_EQ(map_.usage().free_usable, 262u);
  EXPECT_TRUE(queue.drain(milliseconds(0)));
}

TEST_F(DiscardQueueTest, DiscardsForDrainThoughPaused) {
  DiscardQueue queue(device_, map_, kZoneSize, jobs_, kJob, {.bytes_per_second = 0});
  jobs_.pause(kJob);
  queue.add(0, 300);
  EXPECT_EQ(map_.usage().pending, 300u);
  EXPECT_TRUE(device_.discards().empty());
  EXPECT_TRUE(queue.drain(kLong));
  EXPECT_EQ(device_.discards().size(), 2u);
  EXPECT_EQ(map_.usage().free_usable, 300u);
}

TEST_F(DiscardQueueTest, ServesManyThreads) {
  DiscardQueue queue(device_, map_, kZoneSize, jobs_, kJob, {.bytes_per_second = 0});
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (unsigned i = thread; i < kZones; i += 4) {
        queue.add(i, 1);
        if (i % 100 == 0) queue.drain(milliseconds(1));
      }
    });
  }
  for (auto& thread : threads)
    thread.join();
  EXPECT_TRUE(queue.drain(kLong));
  EXPECT_EQ(map_.usage().free_usable, kZones);
  std::uint64_t discarded = 0;
  for (const auto& discard : device_.discards())
    discarded += discard.length;
  EXPECT_EQ(discarded, kZones * kZoneSize);
}

TEST(DiscardQueue, DiscardsTheZonesOnTheDevice) {
  OverlayDevice device("memory", 8 * kZoneSize);
  SpaceMap map("memory", 8, 0);
  map.insert(0, 8);
  AlignedBuffer page(kPageSize);
  std::memset(page.data(), 0x5a, page.size());
  for (std::uint64_t zone = 0; zone < 8; ++zone)
    device.write(zone * kZoneSize, page.span());
  JobScheduler jobs;
  DiscardQueue queue(device, map, kZoneSize, jobs, kJob);
  queue.add(3, 2);
  ASSERT_TRUE(queue.drain(kLong));
  for (std::uint64_t zone = 0; zone < 8; ++zone) {
    device.read(zone * kZoneSize, page.span());
    const auto expected = zone == 3 || zone == 4 ? std::byte{0} : std::byte{0x5a};
    EXPECT_EQ(page.data()[0], expected) << zone;
  }
}

}  // namespace
}  // namespace mpool::test

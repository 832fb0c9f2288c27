#include "engine/cache/reaper.h"

#include <cerrno>
#include <mutex>

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include "engine/base/error.h"
#include "tests/engine/cache/fake_memory.h"
#include "tests/engine/cache/simulated_cache.h"
#include "tests/support/error_of.h"
#include "tests/support/stepped_clock.h"

namespace mpool {
namespace {

using namespace std::chrono_literals;
using test::error_of;
using test::FakeMemory;
using test::FakeSource;
using test::SimulatedCache;
using test::SimulatedChunk;
using test::SteppedClock;

constexpr std::uint64_t kPages = 64;

class ReaperTest : public ::testing::Test {
 protected:
  ReaperTest() {
    memory_.pages = 100 * kPages;
    reaper_.emplace(jobs_, ReaperSettings{}, ReaperPolicy{}, [this](const std::string& cgroup) {
      if (cgroup == "/none") raise(ENOENT, cgroup, "is not there");
      memory_.cgroup = cgroup;
      return std::make_unique<FakeSource>(memory_);
    });
  }

  std::shared_ptr<SimulatedChunk> add() {
    auto chunk = std::make_shared<SimulatedChunk>(cache_, next_++, kPages);
    chunk->read_all();
    reaper_->add({chunk});
    return chunk;
  }
  // Takes the next look, which the job waits for.
  void look() {
    clock_.await_wait(Clock::Duration(1));
    const unsigned before = reads();
    clock_.advance(1s);
    memory_.await_reads(before + 1);
  }
  unsigned reads() {
    const std::lock_guard lock(memory_.mutex);
    return memory_.reads;
  }
  bool sleeps() const { return jobs_.list().front().state == JobState::idle; }
  void await_sleep() {
    while (!sleeps())
      std::this_thread::yield();
  }

  SteppedClock clock_;
  JobScheduler jobs_{clock_};
  FakeMemory memory_;
  SimulatedCache cache_{1u << 20};
  std::uint64_t next_ = 0;
  std::optional<Reaper> reaper_;
};

TEST_F(ReaperTest, SleepsUntilAChunkIsAdded) {
  EXPECT_TRUE(sleeps());
  EXPECT_EQ(reads(), 0u);
  add();
  look();
  EXPECT_EQ(reads(), 1u);
}

TEST_F(ReaperTest, SleepsAgainWhenNothingGrowsAndTheAlarmWakesIt) {
  const auto chunk = add();
  for (unsigned i = 0; i < 5; ++i)
    look();
  await_sleep();
  EXPECT_EQ(reaper_->stats().counts.resident[0], kPages);
  memory_.pages = kPages + 1;
  ASSERT_EQ(::eventfd_write(memory_.alarm, 1), 0);
  for (unsigned i = 0; i < 6; ++i)
    look();
  EXPECT_EQ(chunk->resident(), 0u);
}

TEST_F(ReaperTest, AUseWakesIt) {
  add();
  for (unsigned i = 0; i < 5; ++i)
    look();
  await_sleep();
  reaper_->note_use();
  look();
}

TEST_F(ReaperTest, AReadWakesIt) {
  add();
  for (unsigned i = 0; i < 5; ++i)
    look();
  await_sleep();
  for (unsigned i = 0; i < 3; ++i)
    reaper_->note_read();
  for (unsigned i = 0; i < 4; ++i)
    look();
  await_sleep();
  reaper_->note_read();
  look();
}

TEST_F(ReaperTest, AReadWakesItAfterItWasCancelled) {
  add();
  for (unsigned i = 0; i < 5; ++i)
    look();
  await_sleep();
  reaper_->note_read();
  jobs_.cancel("reaper");
  await_sleep();
  reaper_->note_read();
  look();
}

TEST_F(ReaperTest, TellsWhenReadAheadIsCut) {
  std::mutex mutex;
  std::vector<ReadAheadCut> told;
  reaper_->on_read_ahead_cut([&](ReadAheadCut cut) {
    const std::lock_guard lock(mutex);
    told.push_back(cut);
  });
  memory_.pages = kPages + 1;
  const auto chunk = add();
  for (unsigned i = 0; i < 9; ++i)
    look();
  reaper_->stop();
  EXPECT_EQ(told, (std::vector{ReadAheadCut::warm, ReadAheadCut::none}));
  EXPECT_EQ(reaper_->stats().counts.evicted, kPages);
}

TEST_F(ReaperTest, IsSwitchedOffByHundredPercent) {
  reaper_->set("reap_mempct", "100");
  memory_.pages = kPages + 1;
  const auto chunk = add();
  clock_.await_wait(Clock::Duration(1));
  clock_.advance(1s);
  await_sleep();
  EXPECT_EQ(reads(), 0u);
  EXPECT_EQ(chunk->resident(), kPages);
  EXPECT_EQ(chunk.use_count(), 1);
}

TEST_F(ReaperTest, Settings) {
  reaper_->set("reap_ttl", "5000");
  EXPECT_EQ(reaper_->settings().ttl, 5ms);
  EXPECT_EQ(error_of([&] { reaper_->set("reap_ttl", "5"); }), EINVAL);
  reaper_->set("reap_cgroup", "/a");
  EXPECT_EQ(memory_.cgroup, "/a");
  EXPECT_EQ(error_of([&] { reaper_->set("reap_cgroup", "/none"); }), ENOENT);
  EXPECT_EQ(reaper_->settings().cgroup, "/a");
}

TEST_F(ReaperTest, StoppedTouchesNoChunk) {
  const auto chunk = add();
  reaper_->stop();
  clock_.advance(10s);
  reaper_->note_use();
  EXPECT_EQ(reads(), 0u);
}

}  // namespace
}  // namespace mpool

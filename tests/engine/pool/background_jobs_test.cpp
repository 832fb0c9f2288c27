// The jobs of a pool: what starts them, and what they do by themselves.
#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/io/overlay_device.h"
#include "tests/engine/pool/tiny_pool.h"
#include "tests/support/captured_log.h"
#include "tests/support/stepped_clock.h"

namespace mpool::test {
namespace {

using std::chrono::hours;

// Lets time pass until no job of the pool has work.
void run_jobs(const Pool& pool, SteppedClock& clock) {
  const auto is_idle = [](const JobInfo& job) { return job.state == JobState::idle; };
  while (!std::ranges::all_of(pool.jobs().list(), is_idle)) {
    clock.advance(hours(1));
    std::this_thread::yield();
  }
}

// A pool on which MDC1 is full of garbage.
std::shared_ptr<Media> media_with_garbage() {
  auto media = create(tiny_options(1));
  fill_with_garbage(*activate({media}, by_hand()), 80);
  return media;
}

ActivateOptions stepped(SteppedClock& clock, const Tunables::Maintenance& maintenance) {
  ActivateOptions options;
  options.tunables.maintenance = maintenance;
  options.clock = &clock;
  return options;
}

TEST(BackgroundJobs, DoesItByItself) {
  const auto media = media_with_garbage();
  SteppedClock clock;
  const ActivateOptions activation = stepped(clock, {.period = hours(1), .usage_period = hours(1)});
  const auto pool = activate({media}, activation);
  clock.await_wait(hours(1));
  EXPECT_GE(fill(pool->mdcs()[1]), 70u);
  run_jobs(*pool, clock);
  EXPECT_LT(fill(pool->mdcs()[1]), 20u);
}

TEST(BackgroundJobs, WaitsForChanges) {
  SteppedClock clock;
  const ActivateOptions activation = stepped(clock, {.period = hours(1), .usage_period = hours(2)});
  const auto pool = activate({create(tiny_options(1))}, activation);
  const auto states = [&] {
    std::vector<std::pair<std::string, JobState>> found;
    for (const JobInfo& job : pool->jobs().list())
      found.emplace_back(job.options.name, job.state);
    return found;
  };
  using States = decltype(states());
  EXPECT_EQ(states(), (States{{"discard-capacity", JobState::idle},
                              {"maintain-mdcs", JobState::idle},
                              {"watch-space", JobState::idle}}))
      << "nothing to do";
  add_mblocks(*pool, 1);
  EXPECT_EQ(states().at(1).second, JobState::waiting);
  EXPECT_EQ(states().at(2).second, JobState::waiting);
  run_jobs(*pool, clock);
  const auto objects = add_mblocks(*pool, 1);
  pool->remove(ids_of(objects));
  EXPECT_EQ(states().at(1).second, JobState::waiting);
  run_jobs(*pool, clock);
}

// Where growth found no room, nothing is tried again until there is more.
TEST(BackgroundJobs, DoesNotRetryGrowthForever) {
  const CapturedLog log;
  SteppedClock clock;
  ActivateOptions activation =
      stepped(clock, {.period = hours(1), .grow_full = 0, .usage_period = hours(1)});
  activation.logger = log.logger();
  CreateOptions options = tiny_options(1);
  options.mdc_capacity = 64 * 4096;
  const auto pool = activate({create(options, 2 * kMiB)}, activation);
  add_mblocks(*pool, 240);
  run_jobs(*pool, clock);
  EXPECT_EQ(log.lines_with("no room for more"), 1u);
  const auto writes = [&] { return pool->device(MediaClass::capacity).counters().writes; };
  const auto before = writes();
  pool->maintain();
  EXPECT_EQ(writes(), before);
  EXPECT_EQ(pool->mdcs().size(), 2u);
}

TEST(BackgroundJobs, CanBePausedAndCancelled) {
  const auto media = media_with_garbage();
  SteppedClock clock;
  const ActivateOptions activation = stepped(clock, {.period = hours(1), .usage_period = hours(1)});
  const auto pool = activate({media}, activation);
  const auto state = [&] { return pool->jobs().list().at(1).state; };
  pool->jobs().pause("maintain-mdcs");
  clock.advance(hours(2));
  EXPECT_EQ(state(), JobState::paused);
  pool->jobs().cancel("maintain-mdcs");
  pool->jobs().resume("maintain-mdcs");
  run_jobs(*pool, clock);
  EXPECT_GE(fill(pool->mdcs()[1]), 70u) << "given up";
  add_mblock(*pool);
  run_jobs(*pool, clock);
  EXPECT_LT(fill(pool->mdcs()[1]), 20u);
}

// Ends at once, regardless of the reason it waits for.
TEST(BackgroundJobs, EndsWithThePool) {
  const auto media = create(tiny_options(1));
  ActivateOptions activation;
  activation.tunables.maintenance = {.period = std::chrono::hours(1000),
                                     .usage_period = std::chrono::hours(1000)};
  for (int i = 0; i < 20; ++i)
    activate({media}, activation);
}

TEST(BackgroundJobs, LeavesAnOverlayAlone) {
  const auto media = media_with_garbage();
  const auto generations = [](const Pool& pool) { return pool.mdcs()[1].mdc.generations; };
  const auto before = generations(*activate({media}, by_hand()));
  SteppedClock clock;
  const ActivateOptions activation = stepped(clock, {.period = hours(1), .usage_period = hours(1)});
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(
      std::make_unique<OverlayDevice>(std::make_unique<MemoryDevice>("device0", media)));
  const auto pool = Pool::activate(std::move(devices), activation);
  for (int i = 0; i < 100; ++i) {
    clock.advance(hours(1));
    std::this_thread::yield();
  }
  EXPECT_EQ(generations(*pool), before);
  pool->maintain();
  EXPECT_NE(generations(*pool), before);
}

}  // namespace
}  // namespace mpool::test

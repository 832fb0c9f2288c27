#include "engine/jobs/job.h"

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/error_of.h"
#include "tests/support/stepped_clock.h"

namespace mpool::test {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
constexpr unsigned kMany = 1000;
using Names = std::vector<std::string>;

// A scheduler, and what its jobs did. Steps end as let_finish() says.
class JobTest : public testing::Test {
 protected:
  // A job whose runs take `steps` steps of `bytes` each.
  std::unique_ptr<Job> make(JobOptions options, std::uint64_t steps = 1, std::uint64_t bytes = 0) {
    const std::string name = options.name;
    return std::make_unique<Job>(
        jobs_, std::move(options),
        [this, name, steps, bytes, done = std::uint64_t{0}](JobOrder order) mutable {
          std::unique_lock lock(mutex_);
          log_.push_back(order == JobOrder::cancel ? name + " cancelled" : name);
          changed_.notify_all();
          changed_.wait(lock, [this] { return may_finish_ > 0; });
          --may_finish_;
          done = order == JobOrder::cancel || done + 1 == steps ? 0 : done + 1;
          return JobStep{.more = done != 0, .bytes = bytes, .done = done, .total = steps};
        });
  }
  // This many steps more may end.
  void let_finish(unsigned count) {
    const std::lock_guard lock(mutex_);
    may_finish_ = count;
    changed_.notify_all();
  }
  // Waits for that many steps.
  Names await_steps(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return log_.size() >= count; });
    return log_;
  }
  Names steps() { return await_steps(0); }
  JobInfo info(const std::string& name) const {
    for (const JobInfo& info : jobs_.list()) {
      if (info.options.name == name) return info;
    }
    throw std::out_of_range(name);
  }
  JobState state(const std::string& name) const { return info(name).state; }
  void await_state(const std::string& name, JobState wanted) const {
    while (state(name) != wanted)
      std::this_thread::yield();
  }

  SteppedClock clock_;
  JobScheduler jobs_{clock_};
  std::mutex mutex_;
  std::condition_variable changed_;
  Names log_;
  unsigned may_finish_ = kMany;
};

TEST_F(JobTest, RunsWhenRequested) {
  const auto job = make({.name = "a"});
  EXPECT_EQ(state("a"), JobState::idle);
  job->request();
  await_steps(1);
  await_state("a", JobState::idle);
  job->request();
  EXPECT_THAT(await_steps(2), ElementsAre("a", "a"));
  await_state("a", JobState::idle);
  clock_.advance(minutes(60));
  EXPECT_EQ(steps().size(), 2u) << "nothing without a request";
}

TEST_F(JobTest, RunsLaterWhenRequestedSo) {
  const auto job = make({.name = "a"});
  job->request(minutes(5));
  job->request(minutes(50));
  EXPECT_EQ(state("a"), JobState::waiting);
  clock_.await_wait(minutes(5));
  clock_.advance(minutes(4));
  clock_.await_wait(minutes(1));
  EXPECT_TRUE(steps().empty());
  clock_.advance(minutes(1));
  await_steps(1);
  await_state("a", JobState::idle);
  job->request(minutes(5));
  job->request();
  await_steps(2);
  await_state("a", JobState::idle);
}

TEST_F(JobTest, RunsOnceMoreForARequestDuringAStep) {
  const auto job = make({.name = "a"});
  let_finish(0);
  job->request();
  await_steps(1);
  EXPECT_EQ(state("a"), JobState::running);
  for (int i = 0; i < 3; ++i)
    job->request();
  let_finish(kMany);
  await_steps(2);
  await_state("a", JobState::idle);
  EXPECT_EQ(steps().size(), 2u);
}

TEST_F(JobTest, ShowsProgressAndBytes) {
  const auto job = make({.name = "a", .bytes_per_second = 10}, 3, 50);
  job->request();
  clock_.await_wait(seconds(5));
  EXPECT_EQ(state("a"), JobState::waiting);
  EXPECT_EQ(info("a").done, 1u);
  EXPECT_EQ(info("a").total, 3u);
  EXPECT_EQ(info("a").bytes, 50u);
  clock_.advance(seconds(5));
  await_steps(2);
  clock_.await_wait(seconds(5));
  EXPECT_EQ(info("a").done, 2u);
  clock_.advance(seconds(5));
  await_steps(3);
  await_state("a", JobState::idle);
  EXPECT_EQ(info("a").done, 0u);
  EXPECT_EQ(info("a").bytes, 150u);
}

TEST_F(JobTest, KeepsItsBudgetBetweenRuns) {
  const auto job = make({.name = "a", .bytes_per_second = 10}, 1, 50);
  job->request();
  await_steps(1);
  await_state("a", JobState::idle);
  job->request();
  clock_.await_wait(seconds(5));
  EXPECT_EQ(steps().size(), 1u);
  clock_.advance(seconds(5));
  await_steps(2);
}

TEST_F(JobTest, TakesNoStepWhilePaused) {
  const auto job = make({.name = "a"}, 2);
  jobs_.pause("a");
  EXPECT_EQ(state("a"), JobState::paused);
  job->request();
  clock_.advance(minutes(60));
  EXPECT_TRUE(steps().empty());
  jobs_.resume("a");
  await_steps(2);
  await_state("a", JobState::idle);
  // A step in progress is completed.
  let_finish(0);
  job->request();
  await_steps(3);
  jobs_.pause("a");
  EXPECT_EQ(state("a"), JobState::running);
  let_finish(kMany);
  await_state("a", JobState::paused);
  EXPECT_EQ(steps().size(), 3u);
}

TEST_F(JobTest, EndsARunThatIsCancelled) {
  const auto job = make({.name = "a", .bytes_per_second = 1}, 5, 1000);
  jobs_.cancel("a");
  EXPECT_EQ(state("a"), JobState::idle);
  job->request();
  clock_.await_wait(seconds(1000));
  jobs_.cancel("a");
  EXPECT_THAT(await_steps(2), ElementsAre("a", "a cancelled"));
  await_state("a", JobState::idle);
  // The next run is a new one, also when the cancelled one was paused or did not begin.
  jobs_.pause("a");
  job->request(minutes(60));
  jobs_.cancel("a");
  EXPECT_EQ(await_steps(3).back(), "a cancelled");
  jobs_.resume("a");
  await_state("a", JobState::idle);
  clock_.advance(minutes(60));
  job->request();
  EXPECT_EQ(await_steps(4).back(), "a");
}

TEST_F(JobTest, CancelsARunDuringItsStep) {
  const auto job = make({.name = "a"}, 5);
  let_finish(0);
  job->request();
  await_steps(1);
  jobs_.cancel("a");
  let_finish(kMany);
  EXPECT_THAT(await_steps(2), ElementsAre("a", "a cancelled"));
  await_state("a", JobState::idle);
  EXPECT_EQ(steps().size(), 2u);
}

TEST_F(JobTest, RunsAFewAtATimeTheHigherPriorityFirst) {
  const auto first = make({.name = "1"});
  const auto second = make({.name = "2"});
  const auto low = make({.name = "low", .priority = JobPriority::low});
  const auto normal = make({.name = "normal"});
  const auto high = make({.name = "high", .priority = JobPriority::high});
  let_finish(0);
  first->request();
  await_steps(1);
  second->request();
  await_steps(2);
  low->request();
  normal->request();
  high->request();
  for (const char* name : {"low", "normal", "high"})
    EXPECT_EQ(state(name), JobState::waiting) << name;
  EXPECT_EQ(steps().size(), JobScheduler::kMaxRunning);
  for (std::size_t started = 3; started <= 5; ++started) {
    let_finish(1);
    EXPECT_EQ(await_steps(started).size(), started);
  }
  EXPECT_THAT(steps(), ElementsAre("1", "2", "high", "normal", "low"));
  let_finish(kMany);
}

TEST_F(JobTest, TakesTurns) {
  const auto first = make({.name = "1"}, 3);
  const auto second = make({.name = "2"}, 3);
  const auto third = make({.name = "3"}, 3);
  let_finish(0);
  first->request();
  await_steps(1);
  second->request();
  await_steps(2);
  third->request();
  let_finish(1);
  EXPECT_THAT(await_steps(3), ElementsAre("1", "2", "3"));
  let_finish(kMany);
  EXPECT_EQ(await_steps(9).size(), 9u);
}

TEST_F(JobTest, LetsOthersGoFirstNoMoreWhenTheyArePausedOrEnd) {
  std::vector<std::unique_ptr<Job>> running;
  let_finish(0);
  for (unsigned i = 0; i < JobScheduler::kMaxRunning; ++i) {
    running.push_back(make({.name = std::to_string(i)}));
    running.back()->request();
    await_steps(i + 1);
  }
  auto high = make({.name = "high", .priority = JobPriority::high});
  auto higher = make({.name = "higher", .priority = JobPriority::high});
  const auto low = make({.name = "low", .priority = JobPriority::low});
  high->request();
  higher->request();
  low->request();
  jobs_.pause("high");
  higher.reset();
  let_finish(1);
  EXPECT_EQ(await_steps(JobScheduler::kMaxRunning + 1).back(), "low");
  let_finish(kMany);
}

TEST_F(JobTest, RunsAtOnceWhenExpedited) {
  const auto first = make({.name = "1"});
  const auto second = make({.name = "2"});
  const auto wanted =
      make({.name = "wanted", .priority = JobPriority::low, .bytes_per_second = 1}, 3, 1000);
  wanted->request(minutes(60));
  jobs_.pause("wanted");
  let_finish(0);
  first->request();
  await_steps(1);
  second->request();
  await_steps(2);
  {
    const Job::Expedite expedite(*wanted);
    EXPECT_THAT(await_steps(3), ElementsAre("1", "2", "wanted"));
    let_finish(kMany);
    await_steps(5);
    await_state("wanted", JobState::paused);
  }
  wanted->request();
  EXPECT_EQ(state("wanted"), JobState::paused);
  EXPECT_EQ(steps().size(), 5u);
  jobs_.resume("wanted");
  EXPECT_EQ(state("wanted"), JobState::waiting) << "over its budget";
}

TEST_F(JobTest, EndsAfterTheStepInProgress) {
  auto job = make({.name = "a"}, 5);
  let_finish(0);
  job->request();
  await_steps(1);
  std::thread end([&] { job->stop(); });
  while (!jobs_.list().empty())
    std::this_thread::yield();
  let_finish(kMany);
  end.join();
  EXPECT_EQ(steps().size(), 1u);
  job->request();
  job->stop();
  EXPECT_EQ(steps().size(), 1u);
}

TEST_F(JobTest, ListsJobsAndRefusesOtherNames) {
  const auto a = make({.name = "a", .priority = JobPriority::high, .bytes_per_second = 7});
  auto b = make({.name = "b"});
  ASSERT_EQ(jobs_.list().size(), 2u);
  EXPECT_EQ(info("a").options.priority, JobPriority::high);
  EXPECT_EQ(info("a").options.bytes_per_second, 7u);
  EXPECT_EQ(jobs_.list()[1].options.name, "b");
  b.reset();
  EXPECT_EQ(jobs_.list().size(), 1u);
  EXPECT_EQ(error_of([&] { jobs_.pause("b"); }), ENOENT);
  EXPECT_EQ(error_of([&] { jobs_.resume(""); }), ENOENT);
  EXPECT_EQ(error_of([&] { jobs_.cancel("c"); }), ENOENT);
}

TEST(JobNames, AreWordsForUsers) {
  EXPECT_EQ(to_string(JobPriority::low), "low");
  EXPECT_EQ(to_string(JobPriority::normal), "normal");
  EXPECT_EQ(to_string(JobPriority::high), "high");
  EXPECT_EQ(to_string(JobState::idle), "idle");
  EXPECT_EQ(to_string(JobState::waiting), "waiting");
  EXPECT_EQ(to_string(JobState::running), "running");
  EXPECT_EQ(to_string(JobState::paused), "paused");
}

}  // namespace
}  // namespace mpool::test

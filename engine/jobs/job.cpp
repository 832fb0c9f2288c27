#include "engine/jobs/job.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <utility>

#include "engine/base/error.h"

namespace mpool {
namespace {

constexpr std::chrono::hours kMaxDelay{24};

Clock::Duration time_for(std::uint64_t bytes, std::uint64_t bytes_per_second) {
  if (bytes_per_second == 0) return {};
  const std::chrono::duration<double> seconds(static_cast<double>(bytes) /
                                              static_cast<double>(bytes_per_second));
  return std::chrono::duration_cast<Clock::Duration>(
      std::min<std::chrono::duration<double>>(seconds, kMaxDelay));
}

}  // namespace

std::string_view to_string(JobPriority priority) {
  switch (priority) {
    case JobPriority::low:
      return "low";
    case JobPriority::normal:
      return "normal";
    case JobPriority::high:
      return "high";
  }
  return {};
}

std::string_view to_string(JobState state) {
  switch (state) {
    case JobState::idle:
      return "idle";
    case JobState::waiting:
      return "waiting";
    case JobState::running:
      return "running";
    case JobState::paused:
      return "paused";
  }
  return {};
}

// --- the scheduler ---

std::vector<JobInfo> JobScheduler::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<JobInfo> infos;
  for (const Job* job : jobs_)
    infos.push_back(job->info());
  return infos;
}

template <typename Change>
void JobScheduler::change(std::string_view name, Change&& change) {
  const std::lock_guard lock(mutex_);
  const auto job =
      std::ranges::find(jobs_, name, [](const Job* each) { return each->options_.name; });
  if (job == jobs_.end()) raise(ENOENT, "job " + std::string(name), "there is no such job");
  change(**job);
  notify_ready();
}

void JobScheduler::pause(std::string_view name) {
  change(name, [](Job& job) { job.paused_ = true; });
}

void JobScheduler::resume(std::string_view name) {
  change(name, [](Job& job) { job.paused_ = false; });
}

void JobScheduler::cancel(std::string_view name) {
  change(name, [](Job& job) { job.cancelled_ = job.has_work(); });
}

void JobScheduler::notify_ready() {
  for (Job* job : jobs_) {
    if (job->is_ready()) job->changed_.notify_one();
  }
}

// --- a job ---

Job::Job(JobScheduler& scheduler, JobOptions options, Work work)
    : scheduler_(scheduler), options_(std::move(options)), work_(std::move(work)) {
  const std::lock_guard lock(scheduler_.mutex_);
  assert(std::ranges::none_of(
      scheduler_.jobs_, [this](const Job* each) { return each->options_.name == options_.name; }));
  scheduler_.jobs_.push_back(this);
  try {
    thread_ = std::thread([this] { run(); });
  } catch (...) {
    scheduler_.jobs_.pop_back();
    throw;
  }
}

void Job::stop() {
  {
    const std::lock_guard lock(scheduler_.mutex_);
    stopping_ = true;
    std::erase(scheduler_.jobs_, this);
    changed_.notify_one();
    scheduler_.notify_ready();
  }
  if (thread_.joinable()) thread_.join();
}

void Job::request(Clock::Duration delay) {
  const Clock::Time wanted = scheduler_.clock_.now() + std::min<Clock::Duration>(delay, kMaxDelay);
  if (due_.load() <= wanted) return;
  const std::lock_guard lock(scheduler_.mutex_);
  if (due_.load() <= wanted) return;
  if (due_.load() == kNever) turn_ = ++scheduler_.turns_;
  due_ = wanted;
  changed_.notify_one();
}

void Job::expedite(int by) {
  const std::lock_guard lock(scheduler_.mutex_);
  expedited_ += by;
  assert(expedited_ >= 0);
  changed_.notify_one();
}

// The earliest time of the next step, other jobs aside; kNever when an event must come first.
Clock::Time Job::ready_at() const {
  if (running_ || due_.load() == kNever) return kNever;
  if (is_urgent()) return Clock::Time::min();
  if (paused_) return kNever;
  return std::max(due_.load(), within_budget_);
}

bool Job::is_ready() const {
  return ready_at() <= scheduler_.clock_.now();
}

bool Job::goes_before(const Job& other) const {
  if (options_.priority != other.options_.priority) {
    return options_.priority > other.options_.priority;
  }
  return turn_ < other.turn_;
}

bool Job::may_start() const {
  if (!is_ready()) return false;
  if (is_urgent()) return true;
  return scheduler_.running_ < JobScheduler::kMaxRunning &&
         std::ranges::none_of(scheduler_.jobs_, [this](const Job* other) {
           return other != this && other->is_ready() && other->goes_before(*this);
         });
}

void Job::run() {
  std::unique_lock lock(scheduler_.mutex_);
  while (!stopping_) {
    if (may_start()) {
      take_step(lock);
    } else if (const Clock::Time at = ready_at(); at == kNever || is_ready()) {
      changed_.wait(lock);
    } else {
      scheduler_.clock_.wait_until(changed_, lock, at);
    }
  }
}

void Job::take_step(std::unique_lock<std::mutex>& lock) {
  const JobOrder order = cancelled_ ? JobOrder::cancel : JobOrder::work;
  const Clock::Time begun = scheduler_.clock_.now();
  due_ = kNever;
  running_ = true;
  ++scheduler_.running_;
  scheduler_.notify_ready();  // jobs that let this one go first
  lock.unlock();
  JobStep step = work_(order);
  lock.lock();
  running_ = false;
  --scheduler_.running_;
  bytes_ += step.bytes;
  within_budget_ = begun + time_for(step.bytes, options_.bytes_per_second);
  if (order == JobOrder::cancel) step.more = false;
  if (step.more) {
    due_ = begun;
  } else {
    step = {};
    cancelled_ = false;
  }
  last_ = step;
  turn_ = ++scheduler_.turns_;
  scheduler_.notify_ready();
}

JobInfo Job::info() const {
  JobState state = JobState::idle;
  if (running_) {
    state = JobState::running;
  } else if (paused_) {
    state = JobState::paused;
  } else if (due_.load() != kNever) {
    state = JobState::waiting;
  }
  return {.options = options_,
          .state = state,
          .bytes = bytes_,
          .done = last_.done,
          .total = last_.total};
}

}  // namespace mpool

// Work in the background: what may run when (engine/jobs/README.md).
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "engine/base/clock.h"

namespace mpool {

enum class JobPriority : std::uint8_t { low, normal, high };
// idle: no work. waiting: for its time, its budget, or other jobs. paused: until it is resumed.
enum class JobState : std::uint8_t { idle, waiting, running, paused };

std::string_view to_string(JobPriority priority);
std::string_view to_string(JobState state);

struct JobOptions {
  std::string name;  // unique among the jobs of a scheduler
  JobPriority priority = JobPriority::normal;
  std::uint64_t bytes_per_second = 0;  // I/O budget; 0: no limit
};

// A bounded part of a job's work, as it was done.
struct JobStep {
  bool more = false;        // the run goes on
  std::uint64_t bytes = 0;  // of I/O, charged to the budget
  // Progress of the run, in units of the job.
  std::uint64_t done = 0;
  std::uint64_t total = 0;
};

// What a step is to do. cancel: give up the rest of the run.
enum class JobOrder : std::uint8_t { work, cancel };

struct JobInfo {
  JobOptions options;
  JobState state = JobState::idle;
  std::uint64_t bytes = 0;  // of I/O so far
  std::uint64_t done = 0;   // of the present run, see JobStep
  std::uint64_t total = 0;
};

class Job;

// Decides which jobs run: at most kMaxRunning at a time, those of higher priority first, the others
// in turn. Threads: all functions may be called at the same time.
class JobScheduler {
 public:
  static constexpr unsigned kMaxRunning = 2;

  // The clock must outlive it.
  explicit JobScheduler(Clock& clock = system_clock()) : clock_(clock) {}
  JobScheduler(const JobScheduler&) = delete;
  JobScheduler& operator=(const JobScheduler&) = delete;

  Clock& clock() const { return clock_; }
  std::vector<JobInfo> list() const;  // in the order in which they were made

  // ENOENT: no such job. A step in progress is completed first.
  //
  // A paused job takes no step, unless it is expedited or cancelled.
  void pause(std::string_view name);
  void resume(std::string_view name);
  // Ends the run, at once; no effect on an idle job. Later requests begin another run.
  void cancel(std::string_view name);

 private:
  friend class Job;
  template <typename Change>
  void change(std::string_view name, Change&& change);
  void notify_ready();  // mutex_ held

  Clock& clock_;
  // Guards the members of the jobs, too. A leaf: not held during a step.
  mutable std::mutex mutex_;
  std::vector<Job*> jobs_;
  unsigned running_ = 0;
  std::uint64_t turns_ = 0;
};

// A named piece of background work, done in steps on a thread of its own, which sleeps without a
// time limit while there is no work.
//
// Threads: all functions may be called at the same time, except the destructor.
class Job {
 public:
  // One step. Must not throw. Called on the job's thread without locks.
  using Work = std::function<JobStep(JobOrder)>;

  // The scheduler must outlive it.
  Job(JobScheduler& scheduler, JobOptions options, Work work);
  ~Job() { stop(); }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // Requests a run that begins within `delay`. One request during a run, or before it, is as good
  // as many: at least one step begins after each request.
  void request(Clock::Duration delay = {});
  // Completes the step in progress and takes no further one.
  void stop();

  // While one exists the job works at once: regardless of its time, budget, pause and of other
  // jobs. For a thread that waits for the work.
  class Expedite {
   public:
    explicit Expedite(Job& job) : job_(job) { job_.expedite(1); }
    ~Expedite() { job_.expedite(-1); }
    Expedite(const Expedite&) = delete;
    Expedite& operator=(const Expedite&) = delete;

   private:
    Job& job_;
  };

 private:
  friend class JobScheduler;
  static constexpr Clock::Time kNever = Clock::Time::max();

  void run();
  void take_step(std::unique_lock<std::mutex>& lock);
  void expedite(int by);
  // With the scheduler's mutex held:
  bool has_work() const { return running_ || due_.load() != kNever; }
  bool is_urgent() const { return expedited_ > 0 || cancelled_; }
  Clock::Time ready_at() const;
  bool is_ready() const;
  bool may_start() const;
  bool goes_before(const Job& other) const;
  JobInfo info() const;

  JobScheduler& scheduler_;
  const JobOptions options_;
  const Work work_;
  std::condition_variable changed_;
  // When the next step is wanted. Written with the mutex held.
  std::atomic<Clock::Time> due_ = kNever;
  Clock::Time within_budget_ = Clock::Time::min();  // no step before
  std::uint64_t turn_ = 0;
  JobStep last_;  // of the present run
  std::uint64_t bytes_ = 0;
  int expedited_ = 0;
  bool running_ = false;
  bool paused_ = false;
  bool cancelled_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace mpool

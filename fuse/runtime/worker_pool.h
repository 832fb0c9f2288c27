// Threads for requests that may block.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/base/logger.h"

namespace mpoolfs {

// At most `limit` threads work at a time; all except the first are started when there is work for
// them. The users bound the queue: a job is a request, and a transport has a bounded number of
// requests.
//
// Threads: all functions may be called at the same time.
class WorkerPool {
 public:
  // The work of a worker; must not move until run() returned.
  class Job {
   public:
    virtual void run() noexcept = 0;

   protected:
    ~Job() = default;
  };

  // limit: at least 1. Throws std::system_error when no thread can be started.
  explicit WorkerPool(unsigned limit, mpool::Logger logger = {});
  ~WorkerPool() { finish(); }
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void post(Job& job);
  // Performs the queued jobs, then ends the threads; no job may be posted afterwards.
  void finish();

 private:
  void work();
  void add_thread();
  void add_thread_if_needed() noexcept;

  const unsigned limit_;
  const mpool::Logger logger_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job*> queue_;
  std::vector<std::thread> threads_;
  unsigned idle_ = 0;     // threads that start, or wait for a job
  unsigned running_ = 0;  // threads with a job
  bool ended_ = false;
};

}  // namespace mpoolfs

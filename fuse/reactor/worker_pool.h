// Threads for requests that may block.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace mpoolfs {

// At most `limit` threads work at a time; all but the first start when there is work for them. The
// queue is bounded by its users: a job is a request, and a transport has a bounded number of those.
//
// Some jobs wait for another one that comes later (a change for the close before it). They say so
// with Waiting, and while they wait they do not count, so that even a limit of 1 never leaves
// everybody waiting for a job that nobody does.
//
// Threads: all functions may be called at the same time.
class WorkerPool {
 public:
  // What a worker does; must stay where it is until run() returned.
  class Job {
   public:
    virtual void run() noexcept = 0;

   protected:
    ~Job() = default;
  };

  // While it lives, the calling thread waits for what other jobs do. On other threads than a pool's
  // it means nothing.
  class Waiting {
   public:
    Waiting() noexcept;
    ~Waiting();
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

   private:
    WorkerPool* const pool_;
  };

  // limit: at least 1. Throws std::system_error when no thread can be started.
  explicit WorkerPool(unsigned limit);
  ~WorkerPool() { finish(); }
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void post(Job& job);
  // Does what is queued, then ends the threads; nothing is posted after it.
  void finish();

 private:
  void work();
  void add_thread();
  void add_thread_if_needed() noexcept;

  const unsigned limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job*> queue_;
  std::vector<std::thread> threads_;
  unsigned idle_ = 0;     // threads that start, or wait for a job or for another to stop working
  unsigned running_ = 0;  // threads with a job and not inside Waiting
  bool ended_ = false;
};

}  // namespace mpoolfs

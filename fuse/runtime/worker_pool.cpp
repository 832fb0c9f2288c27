#include "fuse/runtime/worker_pool.h"

#include <exception>
#include <utility>

#include <pthread.h>

namespace mpoolfs {

WorkerPool::WorkerPool(unsigned limit, mpool::Logger logger)
    : limit_(limit), logger_(std::move(logger)) {
  const std::lock_guard lock(mutex_);
  add_thread();
}

void WorkerPool::finish() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  // Running jobs may still add threads.
  for (std::size_t next = 0;;) {
    std::thread thread;
    {
      const std::lock_guard lock(mutex_);
      if (next == threads_.size()) break;
      thread = std::move(threads_[next++]);
    }
    thread.join();
  }
  threads_.clear();
}

void WorkerPool::post(Job& job) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(&job);
    add_thread_if_needed();
  }
  // Without the lock, which the woken thread takes first.
  changed_.notify_one();
}

// Called under mutex_.
void WorkerPool::add_thread() {
  threads_.emplace_back([this] { work(); });
  ++idle_;
}

// Called under mutex_. If the system has no more threads, the existing ones do the work.
void WorkerPool::add_thread_if_needed() noexcept {
  if (queue_.size() <= idle_ || running_ + idle_ >= limit_) return;
  try {
    add_thread();
  } catch (const std::exception& error) {
    logger_.warn("no further thread for requests: {}", error.what());
  }
}

void WorkerPool::work() {
  ::pthread_setname_np(::pthread_self(), "mpoolfs-worker");
  std::unique_lock lock(mutex_);
  --idle_;
  for (;;) {
    while (queue_.empty() && !ended_) {
      ++idle_;
      changed_.wait(lock);
      --idle_;
    }
    if (queue_.empty()) return;
    Job* const job = queue_.front();
    queue_.pop_front();
    ++running_;
    lock.unlock();
    job->run();
    lock.lock();
    --running_;
    if (ended_) {
      changed_.notify_all();
    } else if (!queue_.empty()) {
      changed_.notify_one();
    }
  }
}

}  // namespace mpoolfs

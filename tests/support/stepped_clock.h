// A clock that stands still until a test advances it.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <iterator>
#include <list>
#include <mutex>
#include <vector>

#include "engine/base/clock.h"

namespace mpool::test {

// Must outlive the threads that wait for it. Wall time is the system's.
class SteppedClock final : public Clock {
 public:
  Time now() const override {
    const std::lock_guard lock(mutex_);
    return now_;
  }

  void wait_until(std::condition_variable& changed, std::unique_lock<std::mutex>& lock,
                  Time time) override {
    std::list<Wait>::iterator self;
    {
      const std::lock_guard guard(mutex_);
      if (now_ >= time) return;
      self = waits_.insert(waits_.end(), {&changed, lock.mutex(), time});
      waiting_.notify_all();
    }
    changed.wait(lock);
    const std::lock_guard guard(mutex_);
    waits_.erase(self);
  }

  // Wakes the threads that wait for a time up to then.
  void advance(Duration by) {
    std::vector<Wait> due;
    {
      const std::lock_guard lock(mutex_);
      now_ += by;
      std::ranges::copy_if(waits_, std::back_inserter(due),
                           [&](const Wait& wait) { return wait.time <= now_; });
    }
    for (const Wait& wait : due) {
      const std::lock_guard lock(*wait.mutex);  // from its entry in waits_ on, the waiter has it
      wait.changed->notify_all();
    }
  }

  // Returns when a thread waits for a time at least `from_now` ahead.
  void await_wait(Duration from_now) {
    std::unique_lock lock(mutex_);
    waiting_.wait(lock, [&] {
      return std::ranges::any_of(waits_,
                                 [&](const Wait& wait) { return wait.time >= now_ + from_now; });
    });
  }

 private:
  struct Wait {
    std::condition_variable* changed;
    std::mutex* mutex;
    Time time;
  };

  mutable std::mutex mutex_;  // a leaf
  std::condition_variable waiting_;
  Time now_ = Time() + std::chrono::hours(1);
  std::list<Wait> waits_;
};

}  // namespace mpool::test

// A clock on which waiting takes no time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "engine/base/clock.h"

namespace mpool::test {

// A wait ends at once, at its time, unless it was notified before: for waits of one thread for
// something outside of the program. Wall time is the system's.
class SkippingClock final : public Clock {
 public:
  Time now() const override { return now_; }
  void wait_until(std::condition_variable&, std::unique_lock<std::mutex>&, Time time) override {
    sleep_until(time);
  }
  void sleep_until(Time time) override {
    if (time > now()) now_ = time;
  }

 private:
  std::atomic<Time> now_ = Time() + std::chrono::hours(1);
};

}  // namespace mpool::test

// Time as an object, which tests replace by one that they step.
#pragma once

#include <chrono>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <thread>

namespace mpool {

// The clocks of the system. Threads: all functions may be called at the same time.
class Clock {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  virtual ~Clock() = default;

  // Monotonic.
  virtual Time now() const { return std::chrono::steady_clock::now(); }
  // CLOCK_REALTIME.
  virtual std::timespec wall_time() const {
    std::timespec time{};
    ::clock_gettime(CLOCK_REALTIME, &time);
    return time;
  }
  // Blocks, without the lock, until `changed` is notified or it is `time`; may return earlier.
  virtual void wait_until(std::condition_variable& changed, std::unique_lock<std::mutex>& lock,
                          Time time) {
    changed.wait_until(lock, time);
  }
  // Blocks until it is `time`.
  virtual void sleep_until(Time time) { std::this_thread::sleep_until(time); }
  // Blocks until done(), or until it is `time`; returns done().
  template <typename Done>
  bool wait_until(std::condition_variable& changed, std::unique_lock<std::mutex>& lock, Time time,
                  Done done) {
    while (!done()) {
      if (now() >= time) return false;
      wait_until(changed, lock, time);
    }
    return true;
  }
};

// A clock without state.
inline Clock& system_clock() {
  static Clock clock;
  return clock;
}

}  // namespace mpool

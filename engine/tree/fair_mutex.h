// A shared mutex without starvation.
#pragma once

#include <mutex>
#include <shared_mutex>

namespace mpool::names {

// As std::shared_mutex, but a waiting exclusive locker precedes all shared lockers that arrive
// later. The mutex of the C library lets overlapping shared lockers hold it forever. Consequence: a
// thread that holds it shared must not lock it shared again.
class FairMutex {
 public:
  void lock() {
    const std::lock_guard turn(turnstile_);
    mutex_.lock();
  }
  // Does not block. May fail spuriously under contention.
  bool try_lock() {
    const std::unique_lock turn(turnstile_, std::try_to_lock);
    return turn.owns_lock() && mutex_.try_lock();
  }
  void unlock() { mutex_.unlock(); }

  void lock_shared() {
    const std::lock_guard turn(turnstile_);
    mutex_.lock_shared();
  }
  // Does not block. May fail spuriously under contention.
  bool try_lock_shared() {
    const std::unique_lock turn(turnstile_, std::try_to_lock);
    return turn.owns_lock() && mutex_.try_lock_shared();
  }
  void unlock_shared() { mutex_.unlock_shared(); }

 private:
  std::mutex turnstile_;     // held by the waiting exclusive locker, and briefly by each locker
  std::shared_mutex mutex_;  // taken with turnstile_
};

}  // namespace mpool::names

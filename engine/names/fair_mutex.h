// A shared mutex under which no one starves.
#pragma once

#include <mutex>
#include <shared_mutex>

namespace mpool::names {

// As std::shared_mutex, but whoever waits to have it alone comes before those that ask to share it
// later: the one of the C library lets sharers that overlap keep it for ever. So a thread that
// shares it must not ask for it again.
class FairMutex {
 public:
  void lock() {
    const std::lock_guard turn(turnstile_);
    mutex_.lock();
  }
  // May fail without cause while others come and go.
  bool try_lock() {
    const std::unique_lock turn(turnstile_, std::try_to_lock);
    return turn.owns_lock() && mutex_.try_lock();
  }
  void unlock() { mutex_.unlock(); }

  void lock_shared() {
    const std::lock_guard turn(turnstile_);
    mutex_.lock_shared();
  }
  // May fail without cause while others come and go.
  bool try_lock_shared() {
    const std::unique_lock turn(turnstile_, std::try_to_lock);
    return turn.owns_lock() && mutex_.try_lock_shared();
  }
  void unlock_shared() { mutex_.unlock_shared(); }

 private:
  std::mutex turnstile_;  // held by the one that waits to be alone, and on the way in
  std::shared_mutex mutex_;
};

}  // namespace mpool::names

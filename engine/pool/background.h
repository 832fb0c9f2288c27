// What an active pool does by itself (engine/pool/README.md, "Work in the background").
// Internal to engine/pool.
#pragma once

#include <array>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>

#include "engine/format/media.h"
#include "engine/pool/pool.h"

namespace mpool {

struct PoolState;

// Decides when a share of free space is logged.
class UsageWatch {
 public:
  // free_percent: free usable space in percent. True when it is below a half and differs enough
  // from the last share logged.
  bool should_log(unsigned free_percent);

 private:
  std::optional<unsigned> last_logged_;
};

// Compacts MDCs before a commit must, adds MDCs before all are full, and logs when space runs out.
//
// Threads: owns one, unless none of its periods is set or the capacity device keeps nothing or is
// read-only. The destructor ends it: at once when it sleeps, otherwise after the current MDC. Any
// other thread may call maintain() meanwhile.
// Errors: logged. Once the capacity device is offline the MDCs are left unchanged.
class Background {
 public:
  // The pool must be active and outlive it.
  Background(PoolState& pool, const Maintenance& options);

  // One pass: compactions, then growth.
  void maintain() { maintain(std::stop_token()); }
  // Called by an allocation that finds all MDCs full: adds MDCs, unless another thread did so
  // meanwhile. False when there is no room for more. Must be called without locks.
  bool add_room();

 private:
  void run(const std::stop_token& stop);
  // False when no further work is possible.
  bool maintain(const std::stop_token& stop);
  void compact(const std::stop_token& stop);
  bool filling_up() const;
  bool grow(const std::stop_token& stop);
  void add_mdc();
  void delete_lone_mlog();
  void watch_usage();

  PoolState& pool_;
  const Maintenance options_;
  // One maintain() at a time; first of the lock order (engine/pool/locking.md).
  std::mutex round_;
  bool cannot_grow_ = false;                        // logged once; under round_
  std::array<UsageWatch, kMediaClassCount> usage_;  // the thread's
  std::mutex sleep_;                                // leaf
  std::condition_variable wake_;                    // notified by the request to stop
  std::jthread thread_;                             // last: ends before the members it uses
};

}  // namespace mpool

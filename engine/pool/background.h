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

// Whether a share of free space is worth a line in the log.
class UsageWatch {
 public:
  // Free usable space in percent. True when it is below a half and the last share told of is not
  // about the same.
  bool tell(unsigned free_percent);

 private:
  std::optional<unsigned> told_;
};

// Compacts MDCs before a commit has to, adds MDCs before there is no room for more objects, and
// tells the log of space running out.
//
// Threads: owns one, unless none of its periods is set or the capacity device keeps nothing or is
// read-only. The destructor ends it: at once when it waits, else after the MDC at hand. maintain()
// may be called by any other thread meanwhile.
// Errors: logged. Once the capacity device is offline the MDCs are left alone.
class Background {
 public:
  // The pool is active and outlives it.
  Background(PoolState& pool, const Maintenance& options);

  // One round: compactions, then growth.
  void maintain() { maintain(std::stop_token()); }
  // For an allocation that finds all MDCs full: adds some, unless that happened meanwhile. False
  // when there is no room for more. Not under a lock.
  bool add_room();

 private:
  void run(const std::stop_token& stop);
  // False when nothing can be done any more.
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
  bool cannot_grow_ = false;                        // and the log was told; under round_
  std::array<UsageWatch, kMediaClassCount> usage_;  // the thread's
  std::mutex sleep_;                                // leaf
  std::condition_variable_any wake_;                // by the request to stop
  std::jthread thread_;                             // last: ends before what it uses
};

}  // namespace mpool

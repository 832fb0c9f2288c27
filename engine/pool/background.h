// What an active pool does by itself (engine/pool/README.md, "Work in the background").
// Internal to engine/pool.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>

#include "engine/format/media.h"
#include "engine/jobs/job.h"
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

// The jobs of a pool: "maintain-mdcs" compacts MDCs before a commit must, and adds MDCs before all
// are full; "watch-space" logs when space runs out. Neither exists without its period, or if the
// capacity device keeps nothing or is read-only.
//
// Threads: all functions may be called at the same time. The destructor lets the current MDC be
// completed. Errors: logged. Once the capacity device is offline the MDCs are left unchanged.
class Background {
 public:
  // The pool must be active and outlive it.
  Background(PoolState& pool, const Tunables::Maintenance& options);
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  // Requests what the pool needs from the beginning. Called when PoolState::background is set.
  void start();

  // One pass: compactions, then growth.
  void maintain();
  // Objects or their records changed: after the periods the jobs will see to it. Takes no lock but
  // the scheduler's, and that rarely.
  void note_change();
  // Called by an allocation that finds all MDCs full: adds MDCs, unless another thread did so
  // meanwhile. False when there is no room for more. Must be called without locks.
  bool add_room();

 private:
  JobStep take_step(JobOrder order);
  bool has_work() const;
  bool filling_up() const;
  std::uint64_t free_zones() const;
  bool grow();
  void add_mdc();
  void delete_lone_mlog();
  void watch_usage();

  PoolState& pool_;
  const Tunables::Maintenance options_;
  // One step of a maintain() at a time; first of the lock order (engine/pool/locking.md).
  std::mutex round_;
  std::size_t next_slot_ = 0;  // of the pass; under round_
  // Zones that were free when growth last failed; tried again with more. Under round_.
  std::optional<std::uint64_t> refused_with_;
  std::array<UsageWatch, kMediaClassCount> usage_;  // the job's
  std::atomic<bool> stopping_ = false;
  // Last: they end before the members they use.
  std::optional<Job> mdcs_job_;
  std::optional<Job> space_job_;
};

}  // namespace mpool

// Discards freed zones in the background.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "engine/base/tunables.h"
#include "engine/io/device.h"
#include "engine/jobs/job.h"
#include "engine/space/space_map.h"

namespace mpool {

// Takes zones that objects freed, discards them (rate-limited), and releases them to the space map:
// a zone is never allocated again before its discard was issued. Neighbouring zones are discarded
// together. A discard is advisory: a failed one is logged (only the first of the queue's life) and
// its zones are released nevertheless.
//
// Threads: all functions may be called at the same time. A job discards. The destructor discards
// the remaining zones without the rate limit for at most ending_time, then releases the rest
// without a discard; so does, at once, a cancellation of the job.
class DiscardQueue {
 public:
  // The device, the map and the scheduler must outlive the queue.
  DiscardQueue(Device& device, SpaceMap& map, std::uint64_t zone_size, JobScheduler& scheduler,
               std::string job_name, const Tunables::Discards& tunables = {});
  ~DiscardQueue();
  DiscardQueue(const DiscardQueue&) = delete;
  DiscardQueue& operator=(const DiscardQueue&) = delete;

  const Tunables::Discards& tunables() const { return tunables_; }

  // Retires the zones (they must be used in the map: errors as of SpaceMap::retire) and queues
  // them. Does not wait for the device.
  void add(std::uint64_t first_zone, std::uint32_t count);

  // Blocks until the queue is empty, at most `timeout`; true when it is. The job is expedited while
  // a thread blocks here.
  bool drain(std::chrono::milliseconds timeout);

 private:
  struct Range {
    std::uint64_t first_zone;
    std::uint32_t count;
  };

  JobStep step(JobOrder order);
  std::uint32_t discard_next();
  bool may_go_on(Clock::Time end) const;
  Range take();
  void discard(const Range& range);
  void release(const Range& range);
  void release_all();

  Device& device_;
  SpaceMap& map_;
  Clock& clock_;
  const std::uint64_t zone_size_;
  const Tunables::Discards tunables_;
  const std::uint32_t zones_per_discard_;
  std::mutex mutex_;              // guards all members below except failed_
  std::condition_variable idle_;  // the queue is empty and no discard is in progress
  std::map<std::uint64_t, std::uint32_t> queue_;  // count by first zone; no two are neighbours
  std::uint64_t cursor_ = 0;                      // ranges are taken in ascending order from here
  std::uint64_t done_ = 0;                        // zones of the job's present run
  bool busy_ = false;
  bool failed_ = false;  // a discard failed before; used by the job, then by the destructor
  Job job_;              // last: ends before the members it uses
};

}  // namespace mpool

// Discards freed zones in the background.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <thread>

#include "engine/base/clock.h"
#include "engine/io/device.h"
#include "engine/space/space_map.h"

namespace mpool {

// Takes zones that objects freed, discards them (rate-limited), and releases them to the space map:
// a zone is never allocated again before its discard was issued. Neighbouring zones are discarded
// together. A discard is advisory: a failed one is logged (only the first of the queue's life) and
// its zones are released nevertheless.
//
// Threads: all functions may be called at the same time. Owns one thread. The destructor ends it:
// the thread discards the remaining zones without the rate limit for at most kEndingTime, then
// releases the rest without a discard.
class DiscardQueue {
 public:
  static constexpr std::uint64_t kDefaultBytesPerSecond = 4ull << 30;
  static constexpr std::chrono::seconds kEndingTime{3};

  // The device, the map and the clock must outlive the queue. bytes_per_second 0: no limit.
  DiscardQueue(Device& device, SpaceMap& map, std::uint64_t zone_size,
               std::uint64_t bytes_per_second = kDefaultBytesPerSecond,
               Clock& clock = system_clock());
  ~DiscardQueue();
  DiscardQueue(const DiscardQueue&) = delete;
  DiscardQueue& operator=(const DiscardQueue&) = delete;

  // Retires the zones (they must be used in the map: errors as of SpaceMap::retire) and queues
  // them. Does not wait for the device.
  void add(std::uint64_t first_zone, std::uint32_t count);

  // Blocks until the queue is empty, at most `timeout`; true when it is. The rate limit is
  // suspended while a thread blocks here.
  bool drain(std::chrono::milliseconds timeout);

 private:
  struct Range {
    std::uint64_t first_zone;
    std::uint32_t count;
  };

  void run();
  bool may_go_on() const;
  Range take();
  void discard(const Range& range);
  void release(const Range& range);
  Clock::Duration time_for(const Range& range) const;

  Device& device_;
  SpaceMap& map_;
  Clock& clock_;
  const std::uint64_t zone_size_;
  const std::uint64_t bytes_per_second_;
  const std::uint32_t zones_per_discard_;
  std::mutex mutex_;  // guards all members below except failed_
  // work was added, a thread called drain(), or the queue is stopping
  std::condition_variable work_;
  std::condition_variable idle_;  // the queue is empty and no discard is in progress
  std::map<std::uint64_t, std::uint32_t> queue_;  // count by first zone; no two are neighbours
  std::uint64_t cursor_ = 0;                      // ranges are taken in ascending order from here
  bool busy_ = false;
  unsigned waiters_ = 0;
  bool stopping_ = false;
  // when stopping: the latest time to begin a discard
  Clock::Time end_ = Clock::Time::max();
  bool failed_ = false;  // a discard failed before; used only by the queue's thread
  std::thread thread_;
};

}  // namespace mpool

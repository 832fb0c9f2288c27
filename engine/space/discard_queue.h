// Discards freed zones in the background.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>

#include "engine/device/device.h"
#include "engine/space/space_map.h"

namespace mpool {

// Takes zones that objects gave up, discards them (rate-limited), and releases them to the space map: a zone
// is never allocated again before its discard was issued.
//
// Threads: all functions may be called at the same time. Owns one thread, ended by the destructor, which
// releases what is left without discarding it.
class DiscardQueue {
 public:
  static constexpr std::uint64_t kDefaultBytesPerSecond = 4ull << 30;

  // The device and the map must outlive the queue. bytes_per_second 0: no limit.
  DiscardQueue(Device& device, SpaceMap& map, std::uint64_t zone_size,
               std::uint64_t bytes_per_second = kDefaultBytesPerSecond);
  ~DiscardQueue();
  DiscardQueue(const DiscardQueue&) = delete;
  DiscardQueue& operator=(const DiscardQueue&) = delete;

  // Retires the zones (they must be used in the map) and queues them. Does not block.
  void add(std::uint64_t first_zone, std::uint32_t count);

  // Waits until the queue is empty, at most `timeout`; true when it is. While somebody waits the rate limit
  // is lifted.
  bool drain(std::chrono::milliseconds timeout);

 private:
  struct Range {
    std::uint64_t first_zone;
    std::uint32_t count;
  };
  void run();

  Device& device_;
  SpaceMap& map_;
  const std::uint64_t zone_size_;
  const std::uint64_t bytes_per_second_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable idle_;
  std::deque<Range> queue_;
  bool busy_ = false;
  unsigned waiters_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace mpool

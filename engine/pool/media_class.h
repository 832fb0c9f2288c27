// A media class of an active pool: one device and its space.
#pragma once

#include <chrono>
#include <mutex>
#include <string>

#include "engine/format/records.h"
#include "engine/io/device.h"
#include "engine/pool/pool.h"
#include "engine/space/discard_queue.h"
#include "engine/space/space_map.h"

namespace mpool {

// Threads: all functions may be called at the same time. The locks are leaves
// (engine/pool/locking.md).
class MediaClassSpace {
 public:
  // The superblocks' zones are used from the start. The device and the scheduler must outlive it.
  MediaClassSpace(Device& device, const DeviceParams& params, unsigned spare_percent,
                  JobScheduler& scheduler, const Tunables::Discards& tunables);

  Device& device() const { return device_; }
  DeviceParams params() const;  // present zone count and size: the device may grow
  std::uint64_t zone_size() const { return zone_size_; }
  std::uint64_t features() const { return features_; }
  SpaceMap& map() { return map_; }

  // The number of zones for a capacity of `bytes`: at least one. ENOSPC when no device could have
  // so many.
  std::uint32_t zones_for(std::uint64_t bytes) const;

  // Allocates zones; when there is no room, blocks a bounded time for pending discards. Throws
  // ENOSPC with `pool` as the subject.
  Layout allocate(const std::string& pool, std::uint32_t zones, const Placement& placement);
  // Frees zones: they are discarded in the background, then free again.
  void give_back(const Layout& layout) { discards_.add(layout.first_zone, layout.zone_count); }
  bool wait_for_discards(std::chrono::milliseconds timeout) { return discards_.drain(timeout); }

  // The device grew: `params` differ from the previous ones only in its size and zone count.
  void grow(const DeviceParams& params);

  Pool::ClassInfo info() const;

 private:
  Device& device_;
  const std::uint64_t zone_size_;
  const std::uint64_t features_;
  mutable std::mutex params_mutex_;  // leaf
  DeviceParams params_;
  SpaceMap map_;
  DiscardQueue discards_;
};

}  // namespace mpool

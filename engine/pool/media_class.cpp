#include "engine/pool/media_class.h"

#include <algorithm>
#include <cassert>
#include <cerrno>

#include "engine/base/error.h"
#include "engine/base/size.h"

namespace mpool {

MediaClassSpace::MediaClassSpace(Device& device, const DeviceParams& params, unsigned spare_percent,
                                 JobScheduler& scheduler, const Tunables::Discards& tunables)
    : device_(device),
      zone_size_(params.zone_size()),
      features_(params.features),
      params_(params),
      map_(device.name(), params.zone_count, spare_percent),
      discards_(device, map_, params.zone_size(), scheduler,
                fmt::format("discard-{}", to_string(params.media_class)), tunables) {
  map_.insert(0, params.superblock_zones());
}

DeviceParams MediaClassSpace::params() const {
  const std::lock_guard lock(params_mutex_);
  return params_;
}

void MediaClassSpace::grow(const DeviceParams& params) {
  {
    const std::lock_guard lock(params_mutex_);
    params_ = params;
  }
  map_.grow(params.zone_count);
}

std::uint32_t MediaClassSpace::zones_for(std::uint64_t bytes) const {
  const std::uint64_t zones = std::max<std::uint64_t>(1, ceil_div(bytes, zone_size_));
  if (const DeviceParams present = params(); zones > present.zone_count) {
    raise(ENOSPC, device_.name(),
          "an object of {} does not fit on the {} device with {} zones of {}", format_size(bytes),
          to_string(present.media_class), present.zone_count, format_size(zone_size_));
  }
  return static_cast<std::uint32_t>(zones);
}

Layout MediaClassSpace::allocate(const std::string& pool, std::uint32_t zones,
                                 const Placement& placement) {
  auto first = map_.allocate(zones, placement.policy, 1, placement.near);
  if (!first && discards_.drain(discards_.tunables().allocation_wait)) {
    first = map_.allocate(zones, placement.policy, 1, placement.near);
  }
  if (!first) {
    raise(ENOSPC, "pool " + pool, "no room for {} contiguous zone(s) of {} on the {} device {}",
          zones, format_size(zone_size_), to_string(placement.media_class), device_.name());
  }
  assert(*first + zones <= params().zone_count);
  return {.zone_count = zones, .first_zone = *first};
}

Pool::ClassInfo MediaClassSpace::info() const {
  return {.device_name = device_.name(),
          .params = params(),
          .online = !device_.offline(),
          .spare_percent = map_.spare_percent(),
          .space = map_.usage()};
}

}  // namespace mpool

#include "engine/pool/media_class.h"

#include <algorithm>
#include <cerrno>

#include "engine/base/error.h"
#include "engine/base/size.h"

namespace mpool {
namespace {

// How long an allocation that finds no room waits for zones being discarded.
constexpr std::chrono::seconds kDiscardWait{10};

}  // namespace

MediaClassSpace::MediaClassSpace(Device& device, const DeviceParams& params, unsigned spare_percent)
    : device_(device),
      params_(params),
      map_(device.name(), params.zone_count, spare_percent),
      discards_(device, map_, params.zone_size()) {
  map_.insert(0, params.superblock_zones());
}

std::uint32_t MediaClassSpace::zones_for(std::uint64_t bytes) const {
  const std::uint64_t zones = std::max<std::uint64_t>(1, ceil_div(bytes, params_.zone_size()));
  if (zones > params_.zone_count) {
    raise(ENOSPC, device_.name(),
          "an object of {} does not fit on the {} device with {} zones of {}", format_size(bytes),
          to_string(params_.media_class), params_.zone_count, format_size(params_.zone_size()));
  }
  return static_cast<std::uint32_t>(zones);
}

Layout MediaClassSpace::allocate(const std::string& pool, std::uint32_t zones,
                                 const Placement& placement) {
  auto first = map_.allocate(zones, placement.policy, 1, placement.near);
  if (!first && discards_.drain(kDiscardWait)) {
    first = map_.allocate(zones, placement.policy, 1, placement.near);
  }
  if (!first) {
    raise(ENOSPC, "pool " + pool, "no room for {} contiguous zone(s) of {} on the {} device {}",
          zones, format_size(params_.zone_size()), to_string(params_.media_class), device_.name());
  }
  return {.zone_count = zones, .first_zone = *first};
}

Pool::ClassFacts MediaClassSpace::facts() const {
  return {.device_name = device_.name(),
          .params = params_,
          .online = !device_.offline(),
          .spare_percent = map_.spare_percent(),
          .space = map_.usage()};
}

}  // namespace mpool

#include "engine/pool/defaults.h"

#include <algorithm>

namespace mpool {
namespace {

constexpr std::uint64_t kMiB = 1ull << 20;
constexpr std::uint64_t kGiB = 1ull << 30;
constexpr std::uint64_t kMinZones = 4096;
constexpr std::uint64_t kMinDefaultZoneSize = kMiB;
constexpr std::uint64_t kMinMdcCapacity = 256ull * 1024;
// On small devices, where an mlog of one zone is more than its share, the MDCs take at most this
// part.
constexpr std::uint64_t kMdcDivisor = 8;
constexpr std::uint32_t kReadaheadPages = 32;
constexpr std::uint32_t kMapShift = 30;
constexpr std::uint64_t kMdcPercent = 2;     // of the device, all MDCs together
constexpr std::uint64_t kRootDivisor = 200;  // each of two mlogs: 1 % together

}  // namespace

std::uint64_t default_zone_size(std::uint64_t device_size) {
  std::uint64_t zone_size = kDefaultZoneSize;
  while (zone_size > kMinDefaultZoneSize && device_size / zone_size < kMinZones)
    zone_size /= 2;
  return zone_size;
}

unsigned default_mdc_count(const DeviceParams& capacity) {
  const std::uint64_t zones_per_mlog = ceil_div(kMinMdcCapacity, capacity.zone_size());
  return static_cast<unsigned>(std::clamp<std::uint64_t>(
      capacity.zone_count / kMdcDivisor / (2 * zones_per_mlog), 1, kDefaultMdcCount));
}

std::uint64_t default_mdc_capacity(const DeviceParams& capacity, unsigned count) {
  const std::uint64_t zone_mib = std::max<std::uint64_t>(1, capacity.zone_size() / kMiB);
  const std::uint64_t most = std::max(zone_mib, 256 / zone_mib) * kMiB;
  const std::uint64_t share = capacity.device_size / 100 * kMdcPercent / (2ull * count);
  const std::uint64_t whole_zones = share - share % capacity.zone_size();
  return std::clamp(whole_zones, kMinMdcCapacity, std::max(kMinMdcCapacity, most));
}

std::uint64_t default_root_capacity(std::uint64_t device_size) {
  return std::clamp(device_size / kRootDivisor, 8 * kMiB, kGiB);
}

ConfigRecord default_config(std::uint64_t root_capacity) {
  const CreateOptions options;
  return {.root_log_1 = root_log_id(0),
          .root_log_2 = root_log_id(1),
          .uid = options.uid,
          .gid = options.gid,
          .mode = options.mode,
          .mdc_capacity = root_capacity,
          .max_readahead_pages = kReadaheadPages,
          .max_map_shift = kMapShift,
          .user_type = {},
          .label = options.label};
}

}  // namespace mpool

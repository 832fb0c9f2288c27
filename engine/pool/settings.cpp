#include "engine/pool/settings.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/size.h"
#include "engine/format/records.h"
#include "engine/format/superblock.h"
#include "engine/pool/defaults.h"

namespace mpool {
namespace {

constexpr std::uint64_t kMinZoneSize = 4096;
constexpr std::uint64_t kMaxZoneSize = 1ull << 30;
constexpr std::uint32_t kModeBits = 07777;
constexpr std::uint32_t kMinMapShift = 12;
constexpr std::uint32_t kMaxMapShift = 63;

bool valid_name(const std::string& name) {
  if (name.empty() || name.size() > kMaxPoolNameLength) return false;
  if (name.front() == '-' || name.front() == '.') return false;
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  });
}

}  // namespace

void check_pool_name(const std::string& name) {
  if (valid_name(name)) return;
  raise(EINVAL, "pool " + name,
        "a pool name has 1 to {} letters, digits, '_', '-' or '.', the first not '-' or '.'",
        kMaxPoolNameLength);
}

void check_spare_percent(const std::string& subject, unsigned percent) {
  if (percent > 100) raise(EINVAL, subject, "spare percentage {} is over 100", percent);
}

void check_label(const std::string& subject, const std::string& label) {
  if (label.size() <= ConfigRecord::kMaxLabelLength && label.find('\0') == std::string::npos) {
    return;
  }
  raise(EINVAL, subject, "a label has at most {} bytes and no NUL", ConfigRecord::kMaxLabelLength);
}

void check_mode(const std::string& subject, std::uint32_t mode) {
  if ((mode & ~kModeBits) == 0) return;
  raise(EINVAL, subject, "mode {:#o} has bits beside the permissions", mode);
}

void check_map_shift(const std::string& subject, std::uint32_t shift) {
  if (shift >= kMinMapShift && shift <= kMaxMapShift) return;
  raise(EINVAL, subject, "a greatest map size of 2^{} bytes is not between 2^{} and 2^{}", shift,
        kMinMapShift, kMaxMapShift);
}

void check_zone_size(const std::string& subject, std::uint64_t zone_size) {
  if (std::has_single_bit(zone_size) && zone_size >= kMinZoneSize && zone_size <= kMaxZoneSize) {
    return;
  }
  raise(EINVAL, subject, "zone size {} is not a power of two from {} to {}", zone_size,
        format_size(kMinZoneSize), format_size(kMaxZoneSize));
}

DeviceParams make_device_params(const Device& device, MediaClass media_class,
                                std::optional<std::uint64_t> zone_size) {
  const DeviceProperties& properties = device.properties();
  if (properties.zoned == ZonedModel::host_managed) {
    raise(ENOTSUP, device.name(), "host-managed zoned devices are not supported");
  }
  const std::uint64_t zone = zone_size.value_or(default_zone_size(properties.size));
  DeviceParams params{
      .media_class = media_class,
      .type = DeviceType::block,
      .sector_shift = properties.logical_sector_size == 4096 ? std::uint8_t{12} : std::uint8_t{9},
      .uuid = Uuid::random(),
      .zone_pages = static_cast<std::uint32_t>(zone / kPageSize),
      .zone_count = count_zones(device, properties.size, zone),
      .device_size = properties.size};
  if (params.zone_count <= params.superblock_zones()) {
    raise(ENOSPC, device.name(),
          "{} is too small for a {} device with zones of {}: needs at least {}",
          format_size(properties.size), to_string(media_class), format_size(zone),
          format_size((params.superblock_zones() + 1) * zone));
  }
  return params;
}

std::uint32_t count_zones(const Device& device, std::uint64_t size, std::uint64_t zone_size) {
  const std::uint64_t zones = size / zone_size;
  if (zones > std::numeric_limits<std::uint32_t>::max()) {
    raise(EINVAL, device.name(), "{} zones of {} are too many, a larger zone size is needed", zones,
          format_size(zone_size));
  }
  return static_cast<std::uint32_t>(zones);
}

}  // namespace mpool

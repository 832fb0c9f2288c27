// Facts shared by all structures on the media (engine/format/README.md, "Device and zones" and
// "Superblock"). Everything in engine/format is pure: bytes in, structures out, no I/O;
// thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/base/aligned_buffer.h"
#include "engine/base/bytes.h"
#include "engine/base/uuid.h"

namespace mpool {

enum class MediaClass : std::uint8_t { staging = 0, capacity = 1 };
inline constexpr std::size_t kMediaClassCount = 2;

// Of arrays with an element for each class.
constexpr std::size_t index_of(MediaClass media_class) {
  return static_cast<std::size_t>(media_class);
}

inline std::string_view to_string(MediaClass media_class) {
  return media_class == MediaClass::staging ? "staging" : "capacity";
}

enum class DeviceType : std::uint8_t {
  stream_block = 1,
  block = 2,
  // read as `block`; never written, so that an image can be copied onto a device and back
  file = 3,
  memory = 4,
  zoned = 5,
  sector_nvdimm = 6,
};

// Bits of DeviceParams::features.
inline constexpr std::uint64_t kFeatureMlogs = 1;
inline constexpr std::uint64_t kFeatureMblocks = 2;
inline constexpr std::uint64_t kFeatureChecksummed = 4;

inline constexpr std::uint64_t kDefaultZoneSize = 32ull << 20;
// The superblock area at the front of every device, in bytes.
inline constexpr std::uint64_t kSuperblockAreaSize = 16384;

// What a device says about itself (48 bytes on the media: superblock and MCCONFIG record).
struct DeviceParams {
  static constexpr std::size_t kSize = 48;

  MediaClass media_class = MediaClass::capacity;
  DeviceType type = DeviceType::block;
  std::uint8_t sector_shift = 12;  // log2 of the sector size in bytes: 9 or 12
  Uuid uuid;
  std::uint32_t zone_pages = 0;   // zone size in pages
  std::uint32_t zone_count = 0;   // zones on the device
  std::uint64_t device_size = 0;  // bytes
  std::uint64_t features = kFeatureMlogs | kFeatureMblocks;

  std::uint32_t sector_size() const { return 1u << sector_shift; }
  std::uint64_t zone_size() const { return std::uint64_t{zone_pages} * kPageSize; }
  // Zones that the superblock area takes at the front of the device.
  std::uint32_t superblock_zones() const {
    return static_cast<std::uint32_t>(ceil_div(kSuperblockAreaSize, zone_size()));
  }

  void store(ByteSpan into, std::size_t offset) const;
  // Loads without validation; see invalid_reason().
  static DeviceParams load(ConstByteSpan from, std::size_t offset);
  // The reason why these parameters cannot describe a device, or nullopt when they can.
  std::optional<std::string_view> invalid_reason() const;

  bool operator==(const DeviceParams&) const = default;
};

// Where an object lies: contiguous zones of one device (12 bytes on the media).
struct Layout {
  static constexpr std::size_t kSize = 12;

  std::uint32_t zone_count = 0;
  std::uint64_t first_zone = 0;

  void store(ByteSpan into, std::size_t offset) const;
  static Layout load(ConstByteSpan from, std::size_t offset);

  bool operator==(const Layout&) const = default;
};

}  // namespace mpool

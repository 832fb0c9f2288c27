// The superblock (engine/format/README.md, "Superblock"): 288 bytes in a 4096-byte area, two copies
// per device.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "engine/format/media.h"

namespace mpool {

inline constexpr std::size_t kSuperblockSize = 4096;  // bytes read and written per copy
// Byte offsets of SB0 and SB1 on the device.
inline constexpr std::array<std::uint64_t, 2> kSuperblockOffsets = {0, 8192};
inline constexpr std::size_t kMaxPoolNameLength = 31;

// The location of MDC0. Only the capacity device's superblock carries it.
struct Mdc0Location {
  struct Half {
    std::uint64_t generation = 0;
    Uuid uuid;  // the mlog's log-block magic
    Uuid device_uuid;
    Layout layout;
    bool operator==(const Half&) const = default;
  };
  std::array<Half, 2> halves;
  DeviceParams device;  // of the device that holds MDC0

  // True if the immutable fields (UUIDs and layouts) are equal; generations may differ.
  bool same_place(const Mdc0Location& other) const;
  bool operator==(const Mdc0Location&) const = default;
};

// The state of the extension checksum of the MDC0 part (bytes 124..127).
enum class Mdc0Checksum {
  absent,  // zero: written by another implementation
  good,
  bad,
};

struct Superblock {
  static constexpr std::uint16_t kVersion = 1;

  std::string pool_name;  // at most kMaxPoolNameLength bytes, no NUL
  Uuid pool_uuid;
  std::uint32_t generation = 1;
  DeviceParams device;
  std::optional<Mdc0Location> mdc0;  // set on the capacity device, absent on the staging device

  bool operator==(const Superblock&) const = default;
};

// Fills `into` (kSuperblockSize bytes), zero where no field is defined, with the extension checksum
// when there is an MDC0 part.
void encode_superblock(const Superblock& superblock, ByteSpan into);

struct DecodedSuperblock {
  Superblock superblock;
  Mdc0Checksum mdc0_checksum = Mdc0Checksum::absent;
};

struct SuperblockFault {
  enum class Kind {
    no_magic,  // not a superblock at all
    version,   // a later format
    damaged,   // a checksum or a field is wrong
  };
  Kind kind;
  std::string detail;  // found and expected value
};

// Decodes kSuperblockSize bytes. A bad extension checksum is reported, not a fault: the caller
// determines which copy is right.
std::expected<DecodedSuperblock, SuperblockFault> decode_superblock(ConstByteSpan from);

}  // namespace mpool

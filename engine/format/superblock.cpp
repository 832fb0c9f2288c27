#include "engine/format/superblock.h"

#include <cassert>
#include <cstring>

#include <fmt/format.h>

#include "engine/base/crc32c.h"

namespace mpool {
namespace {

constexpr std::uint64_t kMagic = 0x7665446c6f6f706d;  // "mpoolDev"

// Byte offsets of the fields.
constexpr std::size_t kMagicAt = 0;
constexpr std::size_t kNameAt = 8;
constexpr std::size_t kNameSize = 32;
constexpr std::size_t kPoolUuidAt = 40;
constexpr std::size_t kVersionAt = 56;
constexpr std::size_t kGenerationAt = 58;
constexpr std::size_t kHeadChecksumAt = 62;
constexpr std::size_t kDeviceAt = 72;
constexpr std::size_t kDeviceChecksumAt = 120;
constexpr std::size_t kMdc0ChecksumAt = 124;
constexpr std::size_t kMdc0At = 128;
constexpr std::size_t kMdc0HalfSize = 56;
constexpr std::size_t kMdc0DeviceAt = 240;
constexpr std::size_t kEnd = 288;

// Offsets inside one half of the MDC0 part.
constexpr std::size_t kHalfUuidAt = 8;
constexpr std::size_t kHalfDeviceUuidAt = 24;
constexpr std::size_t kHalfLayoutAt = 40;

std::uint32_t checksum(ConstByteSpan block, std::size_t begin, std::size_t end) {
  return crc32c(block.subspan(begin, end - begin));
}

void store_half(const Mdc0Location::Half& half, ByteSpan into, std::size_t offset) {
  store_le<std::uint64_t>(into, offset, half.generation);
  half.uuid.store(into, offset + kHalfUuidAt);
  half.device_uuid.store(into, offset + kHalfDeviceUuidAt);
  half.layout.store(into, offset + kHalfLayoutAt);
}

Mdc0Location::Half load_half(ConstByteSpan from, std::size_t offset) {
  return {.generation = load_le<std::uint64_t>(from, offset),
          .uuid = Uuid::load(from, offset + kHalfUuidAt),
          .device_uuid = Uuid::load(from, offset + kHalfDeviceUuidAt),
          .layout = Layout::load(from, offset + kHalfLayoutAt)};
}

auto fault(SuperblockFault::Kind kind, std::string detail) {
  return std::unexpected(SuperblockFault{kind, std::move(detail)});
}

std::optional<std::string> checksum_fault(ConstByteSpan from, std::string_view part,
                                          std::size_t begin, std::size_t end, std::size_t at) {
  const auto stored = load_le<std::uint32_t>(from, at);
  const auto computed = checksum(from, begin, end);
  if (stored == computed) return std::nullopt;
  return fmt::format("{} checksum is {:#010x}, expected {:#010x}", part, stored, computed);
}

}  // namespace

void DeviceParams::store(ByteSpan into, std::size_t offset) const {
  std::memset(into.subspan(offset, kSize).data(), 0, kSize);
  store_le<std::uint8_t>(into, offset, static_cast<std::uint8_t>(media_class));
  store_le<std::uint8_t>(into, offset + 1, static_cast<std::uint8_t>(type));
  store_le<std::uint8_t>(into, offset + 2, sector_shift);
  uuid.store(into, offset + 3);
  store_le<std::uint32_t>(into, offset + 24, zone_pages);
  store_le<std::uint32_t>(into, offset + 28, zone_count);
  store_le<std::uint64_t>(into, offset + 32, device_size);
  store_le<std::uint64_t>(into, offset + 40, features);
}

DeviceParams DeviceParams::load(ConstByteSpan from, std::size_t offset) {
  return {.media_class = static_cast<MediaClass>(load_le<std::uint8_t>(from, offset)),
          .type = static_cast<DeviceType>(load_le<std::uint8_t>(from, offset + 1)),
          .sector_shift = load_le<std::uint8_t>(from, offset + 2),
          .uuid = Uuid::load(from, offset + 3),
          .zone_pages = load_le<std::uint32_t>(from, offset + 24),
          .zone_count = load_le<std::uint32_t>(from, offset + 28),
          .device_size = load_le<std::uint64_t>(from, offset + 32),
          .features = load_le<std::uint64_t>(from, offset + 40)};
}

std::optional<std::string_view> DeviceParams::invalid_reason() const {
  if (media_class != MediaClass::staging && media_class != MediaClass::capacity) {
    return "unknown media class";
  }
  if (type < DeviceType::stream_block || type > DeviceType::sector_nvdimm) {
    return "unknown device type";
  }
  if (sector_shift != 9 && sector_shift != 12) return "sector size is neither 512 nor 4096";
  if (zone_pages == 0) return "zone size is zero";
  if (zone_count <= superblock_zones()) return "fewer zones than the superblocks take";
  if (device_size / zone_size() < zone_count) return "more zones than the device has room for";
  return std::nullopt;
}

void Layout::store(ByteSpan into, std::size_t offset) const {
  store_le<std::uint32_t>(into, offset, zone_count);
  store_le<std::uint64_t>(into, offset + 4, first_zone);
}

Layout Layout::load(ConstByteSpan from, std::size_t offset) {
  return {.zone_count = load_le<std::uint32_t>(from, offset),
          .first_zone = load_le<std::uint64_t>(from, offset + 4)};
}

bool Mdc0Location::same_place(const Mdc0Location& other) const {
  const auto same_half = [](const Half& a, const Half& b) {
    return a.uuid == b.uuid && a.device_uuid == b.device_uuid && a.layout == b.layout;
  };
  return same_half(halves[0], other.halves[0]) && same_half(halves[1], other.halves[1]);
}

void encode_superblock(const Superblock& superblock, ByteSpan into) {
  assert(into.size() == kSuperblockSize);
  assert(superblock.pool_name.size() <= kMaxPoolNameLength);
  std::memset(into.data(), 0, into.size());
  store_le<std::uint64_t>(into, kMagicAt, kMagic);
  std::memcpy(into.data() + kNameAt, superblock.pool_name.data(), superblock.pool_name.size());
  superblock.pool_uuid.store(into, kPoolUuidAt);
  store_le<std::uint16_t>(into, kVersionAt, Superblock::kVersion);
  store_le<std::uint32_t>(into, kGenerationAt, superblock.generation);
  store_le<std::uint32_t>(into, kHeadChecksumAt, checksum(into, kMagicAt, kHeadChecksumAt));
  superblock.device.store(into, kDeviceAt);
  store_le<std::uint32_t>(into, kDeviceChecksumAt, checksum(into, kDeviceAt, kDeviceChecksumAt));
  if (!superblock.mdc0) return;
  for (std::size_t half = 0; half < superblock.mdc0->halves.size(); ++half) {
    store_half(superblock.mdc0->halves[half], into, kMdc0At + half * kMdc0HalfSize);
  }
  superblock.mdc0->device.store(into, kMdc0DeviceAt);
  store_le<std::uint32_t>(into, kMdc0ChecksumAt, checksum(into, kMdc0At, kEnd));
}

std::expected<DecodedSuperblock, SuperblockFault> decode_superblock(ConstByteSpan from) {
  using Kind = SuperblockFault::Kind;
  assert(from.size() == kSuperblockSize);
  if (const auto magic = load_le<std::uint64_t>(from, kMagicAt); magic != kMagic) {
    return fault(Kind::no_magic,
                 fmt::format("magic is {:#018x}, expected {:#018x}", magic, kMagic));
  }
  if (auto bad = checksum_fault(from, "header", kMagicAt, kHeadChecksumAt, kHeadChecksumAt)) {
    return fault(Kind::damaged, *bad);
  }
  if (const auto version = load_le<std::uint16_t>(from, kVersionAt);
      version != Superblock::kVersion) {
    return fault(Kind::version,
                 fmt::format("superblock version is {}, this program knows version {}", version,
                             Superblock::kVersion));
  }
  if (auto bad = checksum_fault(from, "device parameter", kDeviceAt, kDeviceChecksumAt,
                                kDeviceChecksumAt)) {
    return fault(Kind::damaged, *bad);
  }

  DecodedSuperblock decoded;
  Superblock& superblock = decoded.superblock;
  const char* name = reinterpret_cast<const char*>(from.data() + kNameAt);
  superblock.pool_name.assign(name, strnlen(name, kNameSize));
  if (superblock.pool_name.empty() || superblock.pool_name.size() > kMaxPoolNameLength) {
    return fault(Kind::damaged, "the pool name is empty or not terminated");
  }
  superblock.pool_uuid = Uuid::load(from, kPoolUuidAt);
  superblock.generation = load_le<std::uint32_t>(from, kGenerationAt);
  superblock.device = DeviceParams::load(from, kDeviceAt);
  if (const auto reason = superblock.device.invalid_reason()) {
    return fault(Kind::damaged, fmt::format("device parameters: {}", *reason));
  }
  if (superblock.device.media_class == MediaClass::capacity) {
    Mdc0Location& mdc0 = superblock.mdc0.emplace();
    for (std::size_t half = 0; half < mdc0.halves.size(); ++half) {
      mdc0.halves[half] = load_half(from, kMdc0At + half * kMdc0HalfSize);
    }
    mdc0.device = DeviceParams::load(from, kMdc0DeviceAt);
    if (const auto stored = load_le<std::uint32_t>(from, kMdc0ChecksumAt); stored != 0) {
      decoded.mdc0_checksum =
          stored == checksum(from, kMdc0At, kEnd) ? Mdc0Checksum::good : Mdc0Checksum::bad;
    }
  }
  return decoded;
}

}  // namespace mpool

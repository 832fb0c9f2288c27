// Object ids (engine/format/README.md, "Object ids").
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace mpool {

enum class ObjectType : std::uint8_t { undefined = 0, mblock = 1, mlog = 2 };

// (uniquifier << 12) | (type << 8) | slot; slot = the MDC (0..255) that holds the object's
// metadata.
struct ObjectId {
  std::uint64_t value = 0;

  static constexpr std::uint64_t kMaxUniquifier = (std::uint64_t{1} << 52) - 1;
  // An OIDCKPT record precedes each id whose uniquifier is a multiple of this.
  static constexpr std::uint64_t kCheckpointInterval = 256;

  static constexpr ObjectId make(std::uint64_t uniquifier, ObjectType type, std::uint8_t slot) {
    return {(uniquifier << 12) | (static_cast<std::uint64_t>(type) << 8) | slot};
  }
  constexpr std::uint64_t uniquifier() const { return value >> 12; }
  constexpr ObjectType type() const {
    const auto type = (value >> 8) & 0xf;
    return type <= 2 ? static_cast<ObjectType>(type) : ObjectType::undefined;
  }
  constexpr std::uint8_t slot() const { return static_cast<std::uint8_t>(value & 0xff); }
  constexpr bool is_mblock() const { return type() == ObjectType::mblock; }
  constexpr bool is_mlog() const { return type() == ObjectType::mlog; }
  // "0x201": hexadecimal, as tools and messages show it.
  std::string to_string() const;
  // "0x" and 1 to 16 hexadecimal digits; nothing else.
  static std::optional<ObjectId> parse(std::string_view text);

  constexpr auto operator<=>(const ObjectId&) const = default;
};

// The mlogs of the pair of MDC `index`: ids (2N, mlog, 0) and (2N+1, mlog, 0).
constexpr ObjectId mdc_log_id(unsigned index, unsigned half) {
  return ObjectId::make(2ull * index + half, ObjectType::mlog, 0);
}
// The client's root mlog pair.
constexpr ObjectId root_log_id(unsigned half) {
  return ObjectId::make(half, ObjectType::mlog, 1);
}

inline constexpr unsigned kMaxMdcs = 255;  // MDC1..255

}  // namespace mpool

template <>
struct std::hash<mpool::ObjectId> {
  std::size_t operator()(mpool::ObjectId id) const noexcept {
    // Uniquifiers are dense: spread them over the buckets without losing the low bits.
    return static_cast<std::size_t>((id.value >> 12) * 0x9e3779b97f4a7c15ull ^ (id.value & 0xfff));
  }
};

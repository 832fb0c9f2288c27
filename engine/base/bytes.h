// Little-endian fields in byte spans, and alignment arithmetic.
#pragma once

#include <bit>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace mpool {

using ByteSpan = std::span<std::byte>;
using ConstByteSpan = std::span<const std::byte>;

static_assert(std::endian::native == std::endian::little ||
              std::endian::native == std::endian::big);

template <std::unsigned_integral T>
constexpr T to_little_endian(T value) {
  if constexpr (std::endian::native == std::endian::little || sizeof(T) == 1) {
    return value;
  } else {
    T swapped = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      swapped = static_cast<T>((swapped << 8) | ((value >> (8 * i)) & 0xff));
    }
    return swapped;
  }
}

// Loads the little-endian integer at `offset`; the caller guarantees that it lies inside.
template <std::unsigned_integral T>
T load_le(ConstByteSpan from, std::size_t offset) {
  assert(offset + sizeof(T) <= from.size());
  T value;
  std::memcpy(&value, from.data() + offset, sizeof(T));
  return to_little_endian(value);
}

template <std::unsigned_integral T>
void store_le(ByteSpan into, std::size_t offset, T value) {
  assert(offset + sizeof(T) <= into.size());
  value = to_little_endian(value);
  std::memcpy(into.data() + offset, &value, sizeof(T));
}

// `unit` is a power of two.
constexpr std::uint64_t round_down(std::uint64_t value, std::uint64_t unit) {
  return value & ~(unit - 1);
}
constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return round_down(value + unit - 1, unit);
}
constexpr bool is_aligned(std::uint64_t value, std::uint64_t unit) {
  return (value & (unit - 1)) == 0;
}
inline bool is_aligned(const void* memory, std::uint64_t unit) {
  return is_aligned(reinterpret_cast<std::uintptr_t>(memory), unit);
}
constexpr std::uint64_t ceil_div(std::uint64_t value, std::uint64_t divisor) {
  return value / divisor + (value % divisor != 0 ? 1 : 0);
}

// Of spans of bytes, together.
template <typename Span>
std::uint64_t length_of(std::span<const Span> parts) {
  std::uint64_t sum = 0;
  for (const Span& part : parts)
    sum += part.size();
  return sum;
}

inline ConstByteSpan as_bytes(const void* data, std::size_t size) {
  return {static_cast<const std::byte*>(data), size};
}

}  // namespace mpool

// UUIDs: 16 raw bytes in print order (engine/format/README.md, "Superblock").
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "engine/base/bytes.h"

namespace mpool {

struct Uuid {
  static constexpr std::size_t kSize = 16;
  std::array<std::byte, kSize> bytes{};

  static Uuid random();
  // Accepts the 36-character form in either case; nothing else.
  static std::optional<Uuid> parse(std::string_view text);
  // Reads/writes the 16 bytes at `offset`, which must lie inside.
  static Uuid load(ConstByteSpan from, std::size_t offset);
  void store(ByteSpan into, std::size_t offset) const;

  bool is_nil() const { return *this == Uuid{}; }
  // 36 characters, lower case.
  std::string to_string() const;

  auto operator<=>(const Uuid&) const = default;
};

}  // namespace mpool

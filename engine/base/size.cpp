#include "engine/base/size.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace mpool {
namespace {

constexpr std::string_view kPrefixes = "KMGTPE";

// The shift of a unit ("" = 0, "M" = 20, "MiB" = 20).
std::optional<unsigned> unit_shift(std::string_view unit) {
  if (unit.empty() || unit == "B") return 0;
  const auto letter = static_cast<char>(std::toupper(static_cast<unsigned char>(unit.front())));
  const std::size_t index = kPrefixes.find(letter);
  const std::string_view rest = unit.substr(1);
  if (index == std::string_view::npos || !(rest.empty() || rest == "iB")) return std::nullopt;
  return static_cast<unsigned>(10 * (index + 1));
}

}  // namespace

std::optional<std::uint64_t> parse_size(std::string_view text) {
  std::uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || rest == text.data()) return std::nullopt;
  const auto shift = unit_shift({rest, static_cast<std::size_t>(end - rest)});
  if (!shift || number > (std::numeric_limits<std::uint64_t>::max() >> *shift)) {
    return std::nullopt;
  }
  return number << *shift;
}

std::string format_size(std::uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes);
  std::size_t prefix = 0;
  for (value /= 1024; value >= 1024 && prefix + 1 < kPrefixes.size(); value /= 1024) {
    ++prefix;
  }
  const auto tenths = static_cast<std::uint64_t>(std::llround(value * 10));
  if (tenths % 10 == 0) return fmt::format("{} {}iB", tenths / 10, kPrefixes[prefix]);
  return fmt::format("{}.{} {}iB", tenths / 10, tenths % 10, kPrefixes[prefix]);
}

}  // namespace mpool

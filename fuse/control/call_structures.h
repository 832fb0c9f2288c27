// What the calls of `.mpool/ctl` have in common: structures and their checks.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/error.h"

namespace mpoolfs {

inline constexpr const char* kCtlSubject = "ctl";

// EINVAL
inline void check(bool condition, const char* what) {
  if (!condition) mpool::raise(EINVAL, kCtlSubject, "{}", what);
}

template <typename T>
void check_zero(const T& reserved) {
  const auto bytes = std::as_bytes(std::span(&reserved, 1));
  check(std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; }),
        "a reserved field is not zero");
}

inline void check_flags(std::uint32_t flags, std::uint32_t known) {
  check((flags & ~known) == 0, "an unknown flag");
}

// Calls `handler` with the structure of the command; its state afterwards is the result.
template <typename T, typename Handler>
std::vector<std::byte> with(mpool::ConstByteSpan in, bool has_result, const Handler& handler) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value{};
  if (!in.empty()) std::memcpy(&value, in.data(), sizeof value);
  handler(value);
  if (!has_result) return {};
  const auto bytes = std::as_bytes(std::span(&value, 1));
  return {bytes.begin(), bytes.end()};
}

}  // namespace mpoolfs

// Sizes as people write and read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mpool {

// Parses a byte count: decimal digits, optionally followed by K, M, G, T or P (powers of 1024; also
// k, KiB, …). nullopt for anything else and for what does not fit in 64 bits.
std::optional<std::uint64_t> parse_size(std::string_view text);

// "512 B", "1 MiB", "1.5 GiB": at most one decimal.
std::string format_size(std::uint64_t bytes);

}  // namespace mpool

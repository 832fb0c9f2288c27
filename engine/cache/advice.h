// How long pages of a map or file should stay in memory (engine/cache/README.md, "Advice").
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mpool {

// In ascending order of the time that unused pages stay. Written as the names: "cold".
enum class Advice : std::uint8_t { cold, warm, hot, pinned };
inline constexpr std::size_t kAdviceCount = 4;
std::string_view to_string(Advice advice);
std::optional<Advice> parse_advice(std::string_view text);

}  // namespace mpool

#include "engine/cache/advice.h"

#include <algorithm>
#include <array>

namespace mpool {

namespace {

constexpr std::array<std::string_view, kAdviceCount> kAdviceNames{"cold", "warm", "hot", "pinned"};

}  // namespace

std::string_view to_string(Advice advice) {
  return kAdviceNames.at(static_cast<std::size_t>(advice));
}

std::optional<Advice> parse_advice(std::string_view text) {
  const auto found = std::ranges::find(kAdviceNames, text);
  if (found == kAdviceNames.end()) return std::nullopt;
  return static_cast<Advice>(found - kAdviceNames.begin());
}

}  // namespace mpool

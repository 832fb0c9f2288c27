// The policy of directories, for what is created in them (engine/tree/README.md, "Policy of
// directories").
#pragma once

#include <cstddef>
#include <string_view>

#include "engine/tree/records.h"

namespace mpool::names {

inline constexpr std::string_view kClassXattr = "user.mpool.class";
inline constexpr std::string_view kCreateXattr = "user.mpool.create";
inline constexpr std::size_t kMaxRulesSize = 4096;  // bytes of a value of kCreateXattr

// What the rules say of a name: the first that matches decides.
Choice choose(std::string_view rules, std::string_view name);

}  // namespace mpool::names

// The policy of directories, for what is created in them (engine/tree/README.md, "Policy of
// directories").
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "engine/tree/records.h"
#include "engine/tree/tree.h"

namespace mpool::names {

inline constexpr std::string_view kClassXattr = "user.mpool.class";
inline constexpr std::string_view kCreateXattr = "user.mpool.create";
inline constexpr std::string_view kAdviceXattr = "user.mpool.advice";
inline constexpr std::size_t kMaxRulesSize = 4096;  // bytes of a value of kCreateXattr

// A value that the inode has of its own; empty: none.
std::string stored_xattr(const Inode& inode, std::string_view name);

// What the rules say of a name: the first that matches decides.
Choice choose(std::string_view rules, std::string_view name);

}  // namespace mpool::names

// Several device paths as one text, as commands and the table of mounts have them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mpool {

// Paths joined with ','. A comma or backslash inside of a path is preceded by a backslash.
std::string join_paths(std::span<const std::string> paths);
// The inverse; empty parts are left out. A backslash before another character stands for itself.
std::vector<std::string> split_paths(std::string_view joined);

}  // namespace mpool

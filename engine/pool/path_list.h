// Several device paths as one text, as commands and the mount table store them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mpool {

// Joins paths with ','. A comma or backslash inside a path is preceded by a backslash.
std::string join_paths(std::span<const std::string> paths);
// The inverse; empty parts are omitted. A backslash before another character stands for itself.
std::vector<std::string> split_paths(std::string_view joined);

}  // namespace mpool

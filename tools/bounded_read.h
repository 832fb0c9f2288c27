// Reading a file that may never answer.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace mpool::tools {

// The content of a file, at most kMaxBoundedRead bytes; nullopt when it cannot be read, or not
// within `limit`: a file of a mount whose daemon is stopped keeps its reader for as long. The
// process that reads then stays behind until it can end. Not while other threads run.
inline constexpr std::size_t kMaxBoundedRead = 1u << 20;
std::optional<std::string> read_within(const std::string& path, std::chrono::milliseconds limit);

}  // namespace mpool::tools

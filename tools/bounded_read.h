// Reads a file that may never answer.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace mpool::tools {

// The content of a file, at most kMaxBoundedRead bytes; nullopt when it cannot be read within
// `limit`: a read from a mount with a stopped daemon blocks as long as the daemon is stopped. The
// reading process then remains until it can end. Must not be called while other threads run.
inline constexpr std::size_t kMaxBoundedRead = 1u << 20;
std::optional<std::string> read_within(const std::string& path, std::chrono::milliseconds limit);

}  // namespace mpool::tools

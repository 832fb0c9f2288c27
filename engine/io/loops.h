// Which loop devices are attached to a file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mpool {

// The identity of a file, independent of its path.
struct FileIdentity {
  std::uint64_t device = 0;  // of its file system: the kernel's 64-bit form of the number
  std::uint64_t inode = 0;

  bool operator==(const FileIdentity&) const = default;
};

// The regular file at `path`, or the file attached to the loop device there (through any device
// node); nullopt when `path` is neither.
std::optional<FileIdentity> file_of(const std::string& path);

// The loop devices attached to a file, as paths below /dev. `path`: the file, or one of the loop
// devices. Loop devices that may not be opened are included if the file still has the same path.
std::vector<std::string> loops_over(const std::string& path);

// As loops_over(), without the loop device at `path` itself.
std::vector<std::string> other_loops_over(const std::string& path);

}  // namespace mpool

// Which loop devices are attached to a file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mpool {

// A file whatever it is called.
struct FileIdentity {
  std::uint64_t device = 0;  // of its file system: the kernel's 64-bit form of the number
  std::uint64_t inode = 0;

  bool operator==(const FileIdentity&) const = default;
};

// The regular file at `path`, or the one attached to the loop device there by whatever node;
// nullopt when it is neither.
std::optional<FileIdentity> file_of(const std::string& path);

// The loop devices that are attached to a file, as paths below /dev. `path`: of the file, or of one
// of them. Those that may not be opened are among them where the file is still called as it was.
std::vector<std::string> loops_over(const std::string& path);

// The same without the one at `path` itself.
std::vector<std::string> other_loops_over(const std::string& path);

}  // namespace mpool

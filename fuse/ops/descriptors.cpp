#include "fuse/ops/descriptors.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <ios>
#include <system_error>
#include <vector>

#include <fcntl.h>

#include "fuse/mount_table.h"

namespace mpoolfs {

namespace {

namespace fs = std::filesystem;

// Examining more would take longer than it saves.
constexpr unsigned kMaxDescriptors = 1024;

struct Descriptor {
  int flags = 0;  // as open(2)
  std::uint64_t mount = 0;
  std::uint64_t inode = 0;
};

Descriptor read_descriptor(const fs::path& path) {
  Descriptor descriptor;
  std::ifstream file(path);
  for (std::string key; file >> key;) {
    if (key == "flags:") {
      file >> std::oct >> descriptor.flags >> std::dec;
    } else if (key == "mnt_id:") {
      file >> descriptor.mount;
    } else if (key == "ino:") {
      file >> descriptor.inode;
      break;
    }
  }
  return descriptor;
}

// The mounts through which the process has the inode number open for writing.
std::vector<std::uint64_t> mounts_of_writing(const fs::path& process, std::uint64_t inode) {
  std::vector<std::uint64_t> mounts;
  unsigned count = 0;
  std::error_code error;
  fs::directory_iterator entry(process / "fdinfo", error);
  while (!error && entry != fs::directory_iterator() && count++ < kMaxDescriptors) {
    const Descriptor descriptor = read_descriptor(entry->path());
    if (descriptor.inode == inode && (descriptor.flags & O_ACCMODE) != O_RDONLY) {
      mounts.push_back(descriptor.mount);
    }
    entry.increment(error);
  }
  return mounts;
}

}  // namespace

bool has_writing_descriptor(pid_t process, const std::string& device, std::uint64_t inode) {
  const fs::path directory = fs::path("/proc") / std::to_string(process);
  const std::vector<std::uint64_t> mounts = mounts_of_writing(directory, inode);
  if (mounts.empty()) return false;
  return std::ranges::any_of(read_mounts(directory / "mountinfo"), [&](const MountEntry& mount) {
    return mount.device == device && std::ranges::find(mounts, mount.id) != mounts.end();
  });
}

}  // namespace mpoolfs

// The mount table of the system.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace mpoolfs {

inline constexpr std::string_view kMountType = "fuse.mpoolfs";

struct MountEntry {
  std::string device;  // "MAJOR:MINOR"
  std::string mount_point;
  std::string type;      // kMountType: of mpoolfs
  std::string source;    // the pool as the mounting user named it
  std::uint64_t id = 0;  // the mount id, as in fdinfo of descriptors
};

// Parses a line of /proc/PID/mountinfo (proc(5)) and decodes octal escapes; nullopt for an invalid
// line.
std::optional<MountEntry> parse_mount_line(std::string_view line);

// The mounts of this process's namespace, or of another table of that form; empty when it cannot be
// read.
std::vector<MountEntry> read_mounts(const std::string& table = "/proc/self/mountinfo");

// True if a source lists one of `device_paths` (resolved symbolic links), or the same device or
// file by another path, node or loop device.
bool lists_device(const std::string& source, std::span<const std::string> device_paths);

// A mount of mpoolfs whose source is one of `names` or lists one of `device_paths`.
std::optional<MountEntry> find_pool_mount(std::span<const MountEntry> mounts,
                                          std::span<const std::string> names,
                                          std::span<const std::string> device_paths);

// The same in the mount namespaces of other processes (containers, services), as far as this
// process may read them.
struct MountElsewhere {
  pid_t process = 0;    // one of the processes in that namespace
  std::string program;  // its name
  MountEntry mount;
};
std::optional<MountElsewhere> find_pool_mount_elsewhere(std::span<const std::string> names,
                                                        std::span<const std::string> device_paths);

// The mount on top of `mount_point` (an absolute path without symbolic links).
std::optional<MountEntry> find_mount(std::span<const MountEntry> mounts,
                                     std::string_view mount_point);

}  // namespace mpoolfs

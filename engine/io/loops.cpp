#include "engine/io/loops.h"

#include <filesystem>
#include <fstream>
#include <optional>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "engine/io/file_descriptor.h"

namespace mpool {

namespace {

std::optional<struct stat> status_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return status;
}

FileIdentity identity_of(const struct stat& status) {
  const std::uint64_t minor = minor(status.st_dev);
  const std::uint64_t number = (minor & 0xff) | (std::uint64_t{major(status.st_dev)} << 8) |
                               ((minor & ~std::uint64_t{0xff}) << 12);
  return {number, status.st_ino};
}

// The file attached to a loop device ("loop3"). Without permission to open the device, the path
// that the file had is used.
std::optional<FileIdentity> file_behind(const std::string& name) {
  const std::string path = "/dev/" + name;
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd) {
    loop_info64 info{};
    if (::ioctl(fd.get(), LOOP_GET_STATUS64, &info) != 0) return std::nullopt;
    return FileIdentity{info.lo_device, info.lo_inode};
  }
  std::ifstream attribute("/sys/block/" + name + "/loop/backing_file");
  std::string file;
  if (!std::getline(attribute, file)) return std::nullopt;
  const auto status = status_of(file);
  return status ? std::optional(identity_of(*status)) : std::nullopt;
}

// The name of a loop device in sysfs ("loop3"), for any device node.
std::optional<std::string> loop_name(dev_t device) {
  std::error_code error;
  const auto directory = std::filesystem::canonical(
      fmt::format("/sys/dev/block/{}:{}", major(device), minor(device)), error);
  if (error || !std::filesystem::exists(directory / "loop", error)) return std::nullopt;
  return directory.filename().string();
}

}  // namespace

std::optional<FileIdentity> file_of(const std::string& path) {
  const auto status = status_of(path);
  if (!status) return std::nullopt;
  if (S_ISREG(status->st_mode)) return identity_of(*status);
  if (!S_ISBLK(status->st_mode)) return std::nullopt;
  const auto name = loop_name(status->st_rdev);
  return name ? file_behind(*name) : std::nullopt;
}

std::vector<std::string> other_loops_over(const std::string& path) {
  std::vector<std::string> loops = loops_over(path);
  const auto status = status_of(path);
  if (!status || !S_ISBLK(status->st_mode)) return loops;
  const auto own = loop_name(status->st_rdev);
  if (own) std::erase(loops, "/dev/" + *own);
  return loops;
}

std::vector<std::string> loops_over(const std::string& path) {
  std::vector<std::string> found;
  const auto file = file_of(path);
  if (!file) return found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/block", error)) {
    if (!std::filesystem::exists(entry.path() / "loop", error)) continue;
    const std::string name = entry.path().filename().string();
    if (file_behind(name) == file) found.push_back("/dev/" + name);
  }
  return found;
}

}  // namespace mpool

#include "engine/io/system_properties.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "engine/base/error.h"

namespace mpool {

namespace {

constexpr std::int64_t kStatBlockSize = 512;  // bytes: unit of st_blocks
constexpr std::uint32_t kMinSectorSize = 512;

// The first line of a sysfs attribute without surrounding blanks; empty when there is none.
std::string attribute(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  const auto first = line.find_first_not_of(" \t");
  if (first == std::string::npos) return {};
  return line.substr(first, line.find_last_not_of(" \t") - first + 1);
}

std::optional<std::uint64_t> number(const std::filesystem::path& file) {
  const std::string text = attribute(file);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || text.empty()) return std::nullopt;
  return value;
}

std::uint32_t number32(const std::filesystem::path& file) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(number(file).value_or(0), UINT32_MAX));
}

// The sysfs directory of the whole disk that contains block device `device`; nullopt when there is
// none (network and memory file systems, btrfs).
std::optional<std::filesystem::path> disk_directory(dev_t device) {
  std::error_code error;
  auto directory = std::filesystem::canonical(
      fmt::format("/sys/dev/block/{}:{}", major(device), minor(device)), error);
  if (error) return std::nullopt;
  if (std::filesystem::exists(directory / "partition", error)) directory = directory.parent_path();
  return directory;
}

ZonedModel zoned_model(std::string_view text) {
  if (text == "host-aware") return ZonedModel::host_aware;
  if (text == "host-managed") return ZonedModel::host_managed;
  return ZonedModel::none;
}

// Properties common to a device and the files on it.
void take_cache_properties(const std::filesystem::path& disk, DeviceProperties& properties) {
  properties.volatile_cache = attribute(disk / "queue/write_cache") != "write through";
  properties.fua = number(disk / "queue/fua").value_or(0) != 0;
  properties.rotational = number(disk / "queue/rotational").value_or(0) != 0;
}

template <typename T>
T block_ioctl(int fd, unsigned long request, const char* request_name, const std::string& path) {
  T value{};
  if (::ioctl(fd, request, &value) != 0) raise_system(errno, path, request_name);
  return value;
}

DeviceProperties block_properties(int fd, dev_t device, const std::string& path) {
  DeviceProperties properties;
  properties.size = block_ioctl<std::uint64_t>(fd, BLKGETSIZE64, "BLKGETSIZE64", path);
  properties.logical_sector_size =
      static_cast<std::uint32_t>(block_ioctl<int>(fd, BLKSSZGET, "BLKSSZGET", path));
  properties.physical_sector_size = block_ioctl<unsigned>(fd, BLKPBSZGET, "BLKPBSZGET", path);
  properties.optimal_io_size = block_ioctl<unsigned>(fd, BLKIOOPT, "BLKIOOPT", path);
  if (const auto disk = disk_directory(device)) {
    take_cache_properties(*disk, properties);
    properties.discard_max = number(*disk / "queue/discard_max_bytes").value_or(0);
    if (properties.discard_max != 0) {
      properties.discard_granularity =
          std::max(number32(*disk / "queue/discard_granularity"), properties.logical_sector_size);
    }
    properties.zoned = zoned_model(attribute(*disk / "queue/zoned"));
    properties.model = attribute(*disk / "device/model");
  }
  return properties;
}

bool lies_in_memory(int fd) {
  struct statfs stats {};
  return ::fstatfs(fd, &stats) == 0 && (stats.f_type == TMPFS_MAGIC || stats.f_type == RAMFS_MAGIC);
}

DeviceProperties file_properties(int fd, const struct stat& status) {
  DeviceProperties properties;
  properties.is_file = true;
  properties.in_memory = lies_in_memory(fd);
  properties.size = static_cast<std::uint64_t>(status.st_size);
  const auto block_size = static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(status.st_blksize, kMinSectorSize, kPageSize));
  properties.logical_sector_size =
      std::clamp<std::uint32_t>(query_direct_io(fd).offset_alignment, kMinSectorSize, kPageSize);
  properties.physical_sector_size = std::max(block_size, properties.logical_sector_size);
  // A file whose blocks are all allocated must stay so: neither room nor speed may depend on other
  // users of its file system.
  const bool allocated = status.st_blocks * kStatBlockSize >= status.st_size;
  properties.discard_granularity = allocated ? 0 : block_size;
  if (const auto disk = disk_directory(status.st_dev)) take_cache_properties(*disk, properties);
  return properties;
}

}  // namespace

DirectIo query_direct_io(int fd) {
  struct statx status {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) != 0 ||
      (status.stx_mask & STATX_DIOALIGN) == 0) {
    return {.supported = true};
  }
  if (status.stx_dio_offset_align == 0 || status.stx_dio_mem_align == 0) return {};
  return {.supported = true,
          .memory_alignment = status.stx_dio_mem_align,
          .offset_alignment = status.stx_dio_offset_align};
}

DeviceProperties query_properties(int fd, const std::string& path) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) raise_system(errno, path, "fstat");
  if (S_ISBLK(status.st_mode)) return block_properties(fd, status.st_rdev, path);
  if (S_ISREG(status.st_mode)) return file_properties(fd, status);
  raise(ENOTBLK, path, "neither a block device nor a regular file");
}

bool has_plenty_of_room(int fd, std::uint64_t size, std::uint64_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < size) return false;
  struct statfs stats {};
  if (::fstatfs(fd, &stats) != 0 || stats.f_blocks == 0) return true;
  return static_cast<std::uint64_t>(stats.f_bavail) * static_cast<std::uint64_t>(stats.f_bsize) >=
         wanted;
}

std::optional<std::string> loop_backing_file(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISBLK(status.st_mode)) return std::nullopt;
  const auto disk = disk_directory(status.st_rdev);
  if (!disk) return std::nullopt;
  const std::string path = attribute(*disk / "loop/backing_file");
  std::error_code error;
  if (path.empty() || !std::filesystem::is_regular_file(path, error)) return std::nullopt;
  return path;
}

}  // namespace mpool

#include "engine/io/probe.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include "engine/base/error.h"
#include "engine/io/blkid_probe.h"
#include "engine/io/file_descriptor.h"

namespace mpool {

namespace {

constexpr const char* kPartitionTable = "partition table";

// Results of blkid_do_safeprobe().
constexpr int kFound = 0;
constexpr int kNothing = 1;
constexpr int kAmbivalent = -2;

FileDescriptor open_for_probe(const std::string& path) {
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) raise_system(errno, path, "open");
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) raise_system(errno, path, "fstat");
  if (!S_ISBLK(status.st_mode) && !S_ISREG(status.st_mode)) {
    raise(ENOTBLK, path, "neither a block device nor a regular file");
  }
  return fd;
}

// libblkid returns only -1; errno gives the cause of a failed read.
[[noreturn]] void raise_probe_failure(const std::string& path) {
  raise_system(errno != 0 ? errno : EIO, path, "looking for signatures");
}

BlkidProbe make_probe(const std::string& path, int fd) {
  errno = 0;
  BlkidProbe probe(blkid_new_probe());
  if (probe == nullptr) raise_system(ENOMEM, path, "looking for signatures");
  if (blkid_probe_set_device(probe.get(), fd, 0, 0) != 0) raise_probe_failure(path);
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID |
                                                     BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE |
                                                     BLKID_SUBLKS_MAGIC);
  blkid_probe_enable_partitions(probe.get(), 1);
  blkid_probe_set_partitions_flags(probe.get(), BLKID_PARTS_MAGIC);
  return probe;
}

std::string value_of(const BlkidProbe& probe, const char* name) {
  const char* data = nullptr;
  if (blkid_probe_lookup_value(probe.get(), name, &data, nullptr) != 0) return {};
  return data;
}

// The names of all signatures, one probe step after the other.
std::vector<std::string> all_types(const BlkidProbe& probe) {
  std::vector<std::string> types;
  blkid_reset_probe(probe.get());
  while (blkid_do_probe(probe.get()) == kFound) {
    for (const char* name : {"TYPE", "PTTYPE"}) {
      std::string type = value_of(probe, name);
      if (!type.empty() && std::ranges::find(types, type) == types.end()) {
        types.push_back(std::move(type));
      }
    }
  }
  return types;
}

bool has_medium(const std::filesystem::path& sys_directory) {
  std::ifstream stream(sys_directory / "size");
  std::uint64_t sectors = 0;
  return (stream >> sectors) && sectors != 0;
}

// A read-only loop device that disappears with its user, as used by the kernel's native reads of a
// pool in a file (fuse/native). It shows the file a second time and is no separate place for a
// pool.
bool is_guise_of_file(const std::filesystem::path& disk) {
  const auto is_set = [](const std::filesystem::path& attribute) {
    std::ifstream stream(attribute);
    return stream.get() == '1';
  };
  return is_set(disk / "loop/autoclear") && is_set(disk / "ro");
}

// sysfs writes '!' for the '/' in a device name.
std::string device_path(const std::filesystem::path& sys_directory) {
  std::string name = sys_directory.filename().string();
  std::ranges::replace(name, '!', '/');
  return "/dev/" + name;
}

std::vector<std::filesystem::path> entries(const std::filesystem::path& directory) {
  std::error_code error;
  std::vector<std::filesystem::path> result;
  // A device that disappears during the scan is simply not in the list.
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    result.push_back(entry->path());
  }
  return result;
}

}  // namespace

std::string Signature::describe() const {
  std::string text = type;
  // libblkid classifies a pool as a file system.
  if (usage == "filesystem" && type != "mpool") text += " file system";
  if (usage == "raid") text += " (RAID or LVM member)";
  if (usage == "crypto") text += " (encrypted)";
  if (usage == kPartitionTable) text += " partition table";
  if (!label.empty()) text += fmt::format(" labelled \"{}\"", label);
  return text;
}

std::optional<Signature> probe_signature(const std::string& path) {
  const FileDescriptor fd = open_for_probe(path);
  const BlkidProbe probe = make_probe(path, fd.get());
  errno = 0;
  const int result = blkid_do_safeprobe(probe.get());
  if (result == kNothing) return std::nullopt;
  if (result == kAmbivalent) {
    raise(EEXIST, path, "holds signatures that contradict each other: {}",
          fmt::join(all_types(probe), ", "));
  }
  if (result != kFound) raise_probe_failure(path);
  Signature signature{.type = value_of(probe, "TYPE"),
                      .usage = value_of(probe, "USAGE"),
                      .label = value_of(probe, "LABEL"),
                      .uuid = value_of(probe, "UUID")};
  if (signature.type.empty()) {
    signature = {.type = value_of(probe, "PTTYPE"),
                 .usage = kPartitionTable,
                 .label = {},
                 .uuid = value_of(probe, "PTUUID")};
  }
  return signature;
}

std::vector<std::string> list_block_devices() {
  std::vector<std::string> result;
  for (const auto& disk : entries("/sys/block")) {
    if (is_guise_of_file(disk)) continue;
    if (has_medium(disk)) result.push_back(device_path(disk));
    for (const auto& part : entries(disk)) {
      std::error_code error;
      if (std::filesystem::exists(part / "partition", error) && has_medium(part)) {
        result.push_back(device_path(part));
      }
    }
  }
  std::ranges::sort(result);
  return result;
}

}  // namespace mpool

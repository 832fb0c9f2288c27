#include "fuse/view/loop_device.h"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "engine/base/error.h"

namespace mpoolfs {

namespace {

using mpool::FileDescriptor;

constexpr const char* kControl = "/dev/loop-control";
constexpr unsigned long kSectorSize = 512;  // what BLKRASET counts in
// Others may take the device that was found free.
constexpr int kAttempts = 64;

std::optional<loop_info64> status_of(int fd) {
  loop_info64 info{};
  if (::ioctl(fd, LOOP_GET_STATUS64, &info) != 0) return std::nullopt;
  return info;
}

// A file whatever it is called.
struct FileIdentity {
  std::uint64_t device = 0;  // the kernel's 64-bit form of the number
  std::uint64_t inode = 0;

  bool operator==(const FileIdentity&) const = default;
};

std::optional<struct stat> facts_of(const std::string& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) return std::nullopt;
  return facts;
}

FileIdentity identity_of(const struct stat& facts) {
  const std::uint64_t minor = minor(facts.st_dev);
  const std::uint64_t number = (minor & 0xff) | (std::uint64_t{major(facts.st_dev)} << 8) |
                               ((minor & ~std::uint64_t{0xff}) << 12);
  return {number, facts.st_ino};
}

// The file attached to a loop device ("loop3"). Who may not open the device can still look what
// path the file had.
std::optional<FileIdentity> file_behind(const std::string& name) {
  const std::string path = "/dev/" + name;
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd) {
    const auto status = status_of(fd.get());
    return status ? std::optional(FileIdentity{status->lo_device, status->lo_inode}) : std::nullopt;
  }
  std::ifstream attribute("/sys/block/" + name + "/loop/backing_file");
  std::string file;
  if (!std::getline(attribute, file)) return std::nullopt;
  const auto facts = facts_of(file);
  return facts ? std::optional(identity_of(*facts)) : std::nullopt;
}

// The file that is, or is attached to, `path`.
std::optional<FileIdentity> file_of(const std::string& path) {
  const auto facts = facts_of(path);
  if (!facts) return std::nullopt;
  if (S_ISREG(facts->st_mode)) return identity_of(*facts);
  return file_behind(std::filesystem::path(path).filename().string());
}

}  // namespace

LoopDevice::LoopDevice(int fd, const std::string& what, bool direct) {
  const FileDescriptor control(::open(kControl, O_RDWR | O_CLOEXEC));
  if (!control) mpool::raise_system(errno, kControl, "open");
  loop_config config{};
  config.fd = static_cast<std::uint32_t>(fd);
  config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
  if (direct) config.info.lo_flags |= LO_FLAGS_DIRECT_IO;
  for (int attempt = 0;; ++attempt) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) mpool::raise_system(errno, kControl, "looking for a free loop device");
    path_ = fmt::format("/dev/loop{}", number);
    fd_ = FileDescriptor(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd_) mpool::raise_system(errno, path_, "open");
    if (::ioctl(fd_.get(), LOOP_CONFIGURE, &config) == 0) break;
    if (errno != EBUSY || attempt == kAttempts)
      mpool::raise_system(errno, path_, "attaching " + what);
  }
  const auto status = status_of(fd_.get());
  if (direct && (!status || (status->lo_flags & LO_FLAGS_DIRECT_IO) == 0)) {
    mpool::raise(ENOTSUP, path_, "direct I/O on {}: not supported by its file system", what);
  }
}

void LoopDevice::set_read_ahead(unsigned long bytes) const {
  if (::ioctl(fd_.get(), BLKRASET, bytes / kSectorSize) != 0) {
    mpool::raise_system(errno, path_, "setting the read-ahead");
  }
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

}  // namespace mpoolfs

#include "fuse/native/loop_device.h"

#include <cerrno>
#include <optional>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

#include "engine/base/error.h"

namespace mpoolfs {

namespace {

using mpool::FileDescriptor;

constexpr const char* kControl = "/dev/loop-control";
constexpr unsigned long kSectorSize = 512;  // what BLKRASET counts in
// Another process may take the device that was found free.
constexpr int kAttempts = 64;

std::optional<loop_info64> status_of(int fd) {
  loop_info64 info{};
  if (::ioctl(fd, LOOP_GET_STATUS64, &info) != 0) return std::nullopt;
  return info;
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

}  // namespace mpoolfs

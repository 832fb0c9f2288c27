#include "engine/io/open.h"

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <limits>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/io/file_descriptor.h"
#include "engine/io/file_device.h"
#include "engine/io/loops.h"
#include "engine/io/system_properties.h"

namespace mpool {

namespace {

// udev holds a shared lock on a block device while it examines it, other programs (this one
// included) open it exclusively for a moment, and a daemon that was just unmounted needs a moment
// to end: a refused lock is retried for this time.
constexpr auto kLockPatience = std::chrono::milliseconds(500);
constexpr auto kLockInterval = std::chrono::milliseconds(20);

// Opening a FIFO or a terminal may block or have side effects: check first. True for a block
// device.
bool check_kind(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) raise_system(errno, path, "stat");
  if (S_ISBLK(status.st_mode)) return true;
  if (S_ISREG(status.st_mode)) return false;
  raise(ENOTBLK, path, "neither a block device nor a regular file");
}

struct DirectFile {
  FileDescriptor fd;
  std::uint32_t memory_alignment;  // 1 for page-cache I/O
};

bool is_write_protected(int block_device) {
  int read_only = 0;
  return ::ioctl(block_device, BLKROGET, &read_only) == 0 && read_only != 0;
}

DirectFile open_direct(const std::string& path, int flags) {
  FileDescriptor fd(::open(path.c_str(), flags | O_DIRECT));
  if (fd) {
    const DirectIo direct = query_direct_io(fd.get());
    if (direct.supported && direct.offset_alignment <= kPageSize &&
        direct.memory_alignment <= kPageSize) {
      return {std::move(fd), direct.memory_alignment};
    }
  } else if (errno != EINVAL) {
    raise_system(errno, path, "open");
  }
  fd = FileDescriptor(::open(path.c_str(), flags));
  if (!fd) raise_system(errno, path, "open");
  return {std::move(fd), 1};
}

// Calls `attempt` until it returns something other than EBUSY, at most for kLockPatience.
template <typename Attempt>
int patiently(Clock& clock, Attempt attempt) {
  const Clock::Time deadline = clock.now() + kLockPatience;
  int code = attempt();
  while (code == EBUSY && clock.now() < deadline) {
    clock.sleep_until(clock.now() + kLockInterval);
    code = attempt();
  }
  return code;
}

// Views of a pool in a file read it through loop devices, also when their daemon was killed, and
// regardless of the path of the file now: it may be another loop device.
void check_loops(const std::string& path, Clock& clock) {
  for (const std::string& loop : other_loops_over(path)) {
    const int held = patiently(clock, [&] { return try_exclusive_open(loop); });
    if (held == EBUSY) {
      raise(EBUSY, path,
            "in use through {}: mounted, or read by programs that outlived a killed mpoolfs", loop);
    }
  }
}

// ": " and the holder of the media at `path`; empty when unknown.
std::string describe_holders(const std::string& path) {
  for (const std::string& name : media_names(path)) {
    const std::string holder = MediaLock::holder_of(name);
    if (!holder.empty()) return ": " + holder;
  }
  return {};
}

// `attempt`: takes a lock that activations hold.
template <typename Attempt>
int lock_active(const OpenOptions& options, Attempt attempt) {
  return options.on_active == OnActive::wait ? patiently(*options.clock, attempt) : attempt();
}

void take_flock(int fd, const std::string& path, OpenMode mode, const OpenOptions& options) {
  const int operation = mode == OpenMode::activate ? LOCK_EX : LOCK_SH;
  const int code = lock_active(options, [&] { return try_flock(fd, operation); });
  if (code == EBUSY) {
    raise(EBUSY, path, "in use by another mpool activation or program{}", describe_holders(path));
  }
  if (code != 0) raise_system(code, path, "flock");
}

// The same device by another node, and a file by a loop device, have other flocks.
MediaLocks take_media_locks(const std::string& path, OpenMode mode, const OpenOptions& options) {
  const LockMode lock_mode = mode == OpenMode::activate ? LockMode::exclusive : LockMode::shared;
  const std::string holder = describe_holder(path);
  MediaLocks locks;
  for (const std::string& name : media_names(path)) {
    MediaLock& lock = locks.emplace_back();
    const int code =
        lock_active(options, [&] { return lock.take(name, lock_mode, holder, options.logger); });
    if (code == EBUSY) {
      const std::string other = MediaLock::holder_of(name);
      raise(EBUSY, path, "in use by another mpool activation{}{}", other.empty() ? "" : ": ",
            other);
    }
    if (code != 0) raise_system(code, path, "flock");
  }
  return locks;
}

// Claims a block device, or checks that it could be claimed. Empty where the holder is tolerated.
FileDescriptor take_claim(const std::string& path, const OpenOptions& options) {
  FileDescriptor claim;
  // The views of a killed daemon end shortly after it, if they have no readers.
  const int held = patiently(*options.clock, [&] {
    claim = FileDescriptor(::open(path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
    return claim ? 0 : errno;
  });
  if (held == EBUSY && options.tolerate && options.tolerate(path)) return {};
  if (held == EBUSY) {
    raise(EBUSY, path, "in use: mounted, or held by another program (RAID, LVM, swap, …)");
  }
  if (held != 0) raise_system(held, path, "exclusive open");
  return claim;
}

// The flock of the file behind a loop device: an activation of the file itself takes it.
FileDescriptor lock_backing_file(int fd, const std::string& path, OpenMode mode,
                                 const OpenOptions& options) {
  const auto file = loop_backing_file(fd);
  if (!file) return {};
  FileDescriptor backing(::open(file->c_str(), O_RDONLY | O_CLOEXEC));
  if (!backing) raise_system(errno, *file, "open (the file behind " + path + ")");
  take_flock(backing.get(), fmt::format("{} (the file behind {})", *file, path), mode, options);
  return backing;
}

DeviceLocks lock(int fd, const std::string& path, OpenMode mode, bool is_block,
                 const OpenOptions& options) {
  const bool activate = mode == OpenMode::activate;
  take_flock(fd, path, mode, options);
  DeviceLocks locks;
  locks.media = take_media_locks(path, mode, options);
  if (is_block) {
    locks.claims = activate;
    locks.exclusive = take_claim(path, options);
    if (!activate) locks.exclusive = {};
    locks.backing = lock_backing_file(fd, path, mode, options);
  }
  if (activate && !options.tolerate) check_loops(path, *options.clock);
  return locks;
}

// Makes the directory entry of `path` durable.
void sync_directory_of(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path();
  const std::string directory = parent.empty() ? "." : parent.string();
  const FileDescriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) raise_system(errno, directory, "open");
  if (::fsync(fd.get()) != 0) raise_system(errno, directory, "fsync");
}

}  // namespace

int try_exclusive_open(const std::string& path) {
  return FileDescriptor(::open(path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC)) ? 0 : errno;
}

std::unique_ptr<Device> open_device(const std::string& path, OpenMode mode,
                                    const OpenOptions& options) {
  const bool is_block = check_kind(path);
  const bool writable = mode == OpenMode::activate;
  DirectFile file = open_direct(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
  // The kernel opens such a device for writing nevertheless, and fails every write.
  if (writable && is_block && is_write_protected(file.fd.get())) {
    raise(EROFS, path, "is write-protected");
  }
  DeviceLocks locks;
  if (mode != OpenMode::peek) {
    locks = lock(file.fd.get(), path, mode, is_block, options);
  }
  DeviceProperties properties = query_properties(file.fd.get(), path);
  properties.read_only = !writable;
  if (properties.logical_sector_size > kPageSize) {
    raise(EINVAL, path, "sector size {} is greater than {}", properties.logical_sector_size,
          kPageSize);
  }
  auto device = std::make_unique<FileDevice>(path, std::move(properties), std::move(file.fd),
                                             file.memory_alignment, std::move(locks));
  device->set_logger(options.logger);
  device->set_clock(*options.clock);
  return device;
}

void create_image_file(const std::string& path, std::uint64_t size) {
  if (size == 0) raise(EINVAL, path, "an image file of 0 bytes is of no use");
  if (size > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max())) {
    raise(EFBIG, path, "{} bytes are more than a file can have", size);
  }
  const FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) raise_system(errno, path, "create");
  try {
    if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
      raise_system(errno, path, fmt::format("setting the size to {} bytes", size));
    }
    if (::fsync(fd.get()) != 0) raise_system(errno, path, "fsync");
    sync_directory_of(path);
  } catch (const Error&) {
    ::unlink(path.c_str());
    throw;
  }
}

}  // namespace mpool

// Locks on the identity of a device, independent of the path or node by which it was opened.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/logger.h"
#include "engine/io/file_descriptor.h"

namespace mpool {

enum class LockMode { shared, exclusive };

// flock(2) with LOCK_SH or LOCK_EX; does not block. Returns 0, EBUSY while another descriptor holds
// a conflicting lock, or the errno of the failure.
int try_flock(int fd, int operation);

// A flock'd file in a directory of locks: /run/mpool for root, "mpool" in $XDG_RUNTIME_DIR, or
// /tmp/mpool-UID, for other users. The kernel releases it when the process ends, for any reason.
// Locks of root and of other users, and of processes with another /run, do not exclude each other.
//
// Movable, not copyable. Threads: as std::string.
class MediaLock {
 public:
  MediaLock() = default;
  MediaLock(MediaLock&& other) noexcept
      : fd_(std::move(other.fd_)), path_(std::exchange(other.path_, {})) {}
  MediaLock& operator=(MediaLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(path_, other.path_);
    return *this;
  }
  ~MediaLock();

  // Takes the lock called `name` (a file name); does not block. `holder`: the text that holder_of()
  // returns while an exclusive lock is held. Returns 0, or EBUSY; 0 without a lock where no
  // directory for locks exists, which is logged.
  int take(const std::string& name, LockMode mode, const std::string& holder, const Logger& logger);

  // The description that the holder of the exclusive lock called `name` gave of itself; empty when
  // unknown.
  static std::string holder_of(const std::string& name);

 private:
  FileDescriptor fd_;
  std::string path_;
};

using MediaLocks = std::vector<MediaLock>;

// The lock names of the media at `path`: of the block device, of the file, and for a loop device
// also of the file behind it.
std::vector<std::string> media_names(const std::string& path);

// True if the media at `path` is the media at one of `others`, by any path or node: they have a
// lock name in common. False when `path` does not exist.
bool is_media_of(const std::string& path, std::span<const std::string> others);

// Describes this process and its path to the device, for MediaLock::take.
std::string describe_holder(const std::string& path);

}  // namespace mpool

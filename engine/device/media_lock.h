// Locks by what a device is, not by the path or node through which it was opened.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/device/file_descriptor.h"

namespace mpool {

enum class LockMode { shared, exclusive };

// flock(2) with LOCK_SH or LOCK_EX, without waiting. 0, EBUSY while another descriptor holds a lock
// that excludes this one, or the errno of the failure.
int try_flock(int fd, int operation);

// A flock'd file in a directory of locks: /run/mpool for root, "mpool" in $XDG_RUNTIME_DIR, or
// /tmp/mpool-UID, for other users. It ends with the process, however that ends. Locks of root and
// of other users, and of processes with another /run, do not see each other.
//
// Movable, not copyable. Threads: those of a std::string.
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

  // Takes the lock called `name` (a file name), without waiting. `holder` is what holder_of() tells
  // while an exclusive lock is held. 0, or EBUSY; 0 without a lock where there is no directory for
  // locks, which is logged once.
  int take(const std::string& name, LockMode mode, const std::string& holder);

  // What the process that has the exclusive lock called `name` said of itself; empty when that is
  // not known.
  static std::string holder_of(const std::string& name);

 private:
  FileDescriptor fd_;
  std::string path_;
};

using MediaLocks = std::vector<MediaLock>;

// The names of the locks of what is at `path`: of the block device, of the file, and for a loop
// device of the file behind it, too.
std::vector<std::string> media_names(const std::string& path);

// Whether what is at `path` is the same media as at one of `others`, by whatever path or node: has
// a name in common with it. False when nothing is there.
bool is_media_of(const std::string& path, std::span<const std::string> others);

// This process, and the path by which it has the device: for MediaLock::take.
std::string describe_holder(const std::string& path);

}  // namespace mpool

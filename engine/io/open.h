// Opening block devices and regular files as Device.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/io/device.h"

namespace mpool {

enum class OpenMode {
  // Read-only, shared lock: admits other readers, excludes an activation for writing.
  inspect,
  // Read-only, no lock: for superblocks of a pool that may be active (list, info).
  peek,
  // Read-write, exclusive lock.
  activate,
};

// Called for a block device that another program holds exclusively. Returns true when the holder
// does not change its content and the caller opens it nevertheless.
using TolerateHolder = std::function<bool(const std::string& path)>;

// The behaviour of open_device() while an activation holds the device.
enum class OnActive {
  wait,  // retry for half a second: a daemon just unmounted takes a moment to end
  fail,
};

struct OpenOptions {
  TolerateHolder tolerate = nullptr;
  OnActive on_active = OnActive::wait;
  Logger logger{};                 // of the device, and of its locks
  Clock* clock = &system_clock();  // must outlive the device
};

// Opens `path` with direct I/O (page-cache I/O only where the file system has no direct I/O, such
// as tmpfs).
// Locks: `activate` and `inspect` take a flock, also on the file behind a loop device, and the
// locks on the identity of the device (media_lock.h). They end with the Device. Another program
// must not hold the block device exclusively (a mount, RAID, …) unless `tolerate` accepts the
// holder; `activate` then holds it exclusively itself (Device::claim). `activate` also checks that
// no other loop device over the same file is held exclusively, unless `tolerate` is given: then the
// caller checks these (loops.h).
// A device held exclusively is retried for half a second, since udev and other programs hold
// devices briefly.
// Errors: ENOENT, EACCES, …; EROFS when the device is write-protected; EBUSY when it is locked or
// held by another program; ENOTBLK when it is neither a block device nor a regular file; EINVAL
// when its sector size exceeds kPageSize.
std::unique_ptr<Device> open_device(const std::string& path, OpenMode mode,
                                    const OpenOptions& options = {});

// Returns 0 when no program holds the block device exclusively at the moment, EBUSY, or the errno
// that prevents the check.
int try_exclusive_open(const std::string& path);

// Creates a regular file of `size` bytes (sparse), durable including its directory entry. EEXIST
// when there is one.
void create_image_file(const std::string& path, std::uint64_t size);

}  // namespace mpool

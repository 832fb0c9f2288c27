// Opening block devices and regular files as Device.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/device/device.h"

namespace mpool {

enum class OpenMode {
  // Read-only, shared lock: several readers at a time, none beside an activation for writing.
  inspect,
  // Read-only, no lock at all: superblocks of a pool that may be active (list, info).
  peek,
  // Read-write, exclusive lock.
  activate,
};

// Asked about a block device that somebody holds exclusively: true when that somebody does not
// change what is on it, and the caller opens it all the same.
using TolerateHolder = std::function<bool(const std::string& path)>;

// What open_device() does while an activation has the device.
enum class OnActive {
  wait,  // for half a second: a daemon just unmounted takes a moment to end
  fail,
};

// Opens `path` with direct I/O (page-cache I/O only where the file system has no direct I/O, as
// tmpfs). `activate` and `inspect` take a flock, of the file behind a loop device, too, and the
// locks of what the device is (media_lock.h). A block device must not be held exclusively by
// another program (a mount, RAID, …); `activate` holds it so from then on (Device::claim), unless
// `tolerate` accepts the holder. `activate` also checks that no further loop device over the same
// file is held exclusively, unless `tolerate` is given: then the caller sees to those (loops.h).
// The locks end with the Device. A device held exclusively is tried again for half a second, as
// udev and other programs hold devices for moments. Errors: ENOENT, EACCES, …; EROFS when it is
// write-protected; EBUSY when locked or held by another; ENOTBLK when it is neither a block device
// nor a regular file; EINVAL when its sector size exceeds kPageSize.
std::unique_ptr<Device> open_device(const std::string& path, OpenMode mode,
                                    const TolerateHolder& tolerate = nullptr,
                                    OnActive on_active = OnActive::wait);

// 0 when nobody holds the block device exclusively at the moment, EBUSY, or why that cannot be
// told.
int try_exclusive_open(const std::string& path);

// Creates a regular file of `size` bytes (sparse), durable including its directory entry. EEXIST
// when there is one.
void create_image_file(const std::string& path, std::uint64_t size);

}  // namespace mpool

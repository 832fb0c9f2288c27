// What the system knows of an open block device or regular file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/device/device.h"

namespace mpool {

// How an open file can be read and written past the page cache. All I/O of the engine is in whole
// pages, so an offset alignment up to kPageSize is always met.
struct DirectIo {
  bool supported = false;
  std::uint32_t memory_alignment = kPageSize;
  std::uint32_t offset_alignment = kPageSize;
};

// From statx(STATX_DIOALIGN); where the kernel does not tell: supported, with the alignment of a
// page.
DirectIo query_direct_io(int fd);

// Properties of the block device or regular file open as `fd`: sizes from ioctls or fstat, the rest
// from sysfs (of the whole disk if it is a partition, of the disk below if it is a file), with
// DeviceProperties' defaults for what is unknown there. read_only is left false. `path` is for
// messages. Errors: ENOTBLK when it is neither; what an ioctl fails with.
DeviceProperties query_properties(int fd, const std::string& path);

// Whether the file system of a file, whose size may become `size`, has `wanted` bytes for this
// process and lets it write them there. True where it does not say how much it has.
bool has_plenty_of_room(int fd, std::uint64_t size, std::uint64_t wanted);

// The file that the loop device open as `fd` shows; nullopt when it is no loop device or its file
// has no name any more.
std::optional<std::string> loop_backing_file(int fd);

}  // namespace mpool

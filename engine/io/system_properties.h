// Properties of an open block device or regular file as the system reports them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/io/device.h"

namespace mpool {

// The direct I/O that an open file supports. All I/O of the engine is in whole pages, so an offset
// alignment up to kPageSize is always met.
struct DirectIo {
  bool supported = false;
  std::uint32_t memory_alignment = kPageSize;
  std::uint32_t offset_alignment = kPageSize;
};

// From statx(STATX_DIOALIGN). Where the kernel does not report it: supported, with the alignment of
// a page.
DirectIo query_direct_io(int fd);

// Properties of the block device or regular file open as `fd`: sizes from ioctls or fstat, the rest
// from sysfs (of the whole disk for a partition, of the underlying disk for a file). Unknown
// properties have the defaults of DeviceProperties. read_only is left false. `path` is for
// messages. Errors: ENOTBLK when it is neither; the errno of a failed ioctl.
DeviceProperties query_properties(int fd, const std::string& path);

// True if the file system of a file, which may grow to `size`, has `wanted` bytes for this process
// and permits writing them there. True where the file system does not report its room.
bool has_plenty_of_room(int fd, std::uint64_t size, std::uint64_t wanted);

// The file behind the loop device open as `fd`; nullopt when it is no loop device or the file has
// no name any more.
std::optional<std::string> loop_backing_file(int fd);

}  // namespace mpool

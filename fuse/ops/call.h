// A request of the kernel as its handler sees it, independent of libfuse and of the transport.
#pragma once

#include <cerrno>
#include <cstdint>

#include <sys/types.h>

#include "engine/base/blocking.h"
#include "engine/base/error.h"
#include "fuse/ops/attributes.h"
#include "fuse/ops/file_system.h"
#include "fuse/ops/handle_table.h"

namespace mpoolfs {

struct Call {
  FileSystem& file_system;
  Caller caller;
  // forbidden: a handler that would block on locks held during I/O, on the device, or on other
  // requests returns so, with no state changed.
  mpool::Blocking blocking = mpool::Blocking::allowed;

  mpool::Namespace& names() const { return file_system.names; }
  bool can_block() const { return blocking == mpool::Blocking::allowed; }
};

// The open file that a request names, and the flags of open(2).
struct FileArgument {
  int flags = 0;
  KernelHandle* handle = nullptr;  // null for OPEN and CREATE, and where SETATTR names a path

  mpool::OpenFile& file() const { return handle->file(); }
};

// The kernel passes no negative offsets; this prevents a conversion of one to a huge number.
inline std::uint64_t checked_offset(off_t offset) {
  if (offset < 0) mpool::raise(EINVAL, "request", "negative offset {}", offset);
  return static_cast<std::uint64_t>(offset);
}

}  // namespace mpoolfs

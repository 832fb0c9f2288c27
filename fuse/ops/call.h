// A request of the kernel as its handler sees it, independent of libfuse and of the transport.
#pragma once

#include "engine/base/blocking.h"
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

}  // namespace mpoolfs

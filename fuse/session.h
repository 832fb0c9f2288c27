// One mount: the kernel's connection, from mounting to unmounting.
#pragma once

#include <functional>
#include <memory>

#include "fuse/ops/file_system.h"
#include "fuse/ops/fuse_api.h"
#include "fuse/options.h"
#include "fuse/transport/transport_info.h"

namespace mpoolfs {

// SIGTERM, SIGINT and SIGHUP end the mount. Only the main thread must receive them, so they are
// blocked before any thread starts; Session::run handles them.
void block_end_signals();

// Signals of failed calls that must not end the process: SIGPIPE (the reader of the messages ended:
// they are dropped) and SIGXFSZ (a file size limit below the size of the pool's file: ENOSPC).
void ignore_write_signals();

class Session {
 public:
  // Mounts on options.mount_point (an absolute path). The parameters must outlive the session. Sets
  // the callbacks of the file system's names and, once the transport runs, `transport`. Errors:
  // ENODEV without FUSE, ENOTSUP when options.transport is not available, those of mount(2).
  Session(FileSystem& file_system, const Options& options, SharedTransportInfo& transport);
  // Unmounts, unless unmounted already.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Answers requests until the mount ends: by umount(8) or by one of the signals above. Calls
  // `ready` once when the mount is usable. Throws when requests can no longer
  // be answered, or never could (ENOTSUP for transport=uring).
  void run(const std::function<void()>& ready);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mpoolfs

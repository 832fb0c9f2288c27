// One mount: the kernel's connection, from mounting to unmounting.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "fuse/ops/file_system.h"
#include "fuse/ops/fuse_api.h"
#include "fuse/options.h"

namespace mpoolfs {

// SIGTERM, SIGINT and SIGHUP end the mount. They must reach the main thread alone, so they are
// blocked before any thread starts; Session::run looks for them.
void block_end_signals();

// What a call fails with must not end the process too: SIGPIPE (the reader of the messages is gone:
// they are dropped) and SIGXFSZ (a file size limit below that of the pool's file: ENOSPC).
void ignore_write_signals();

class Session {
 public:
  // Mounts on options.mount_point (an absolute path). `file_system` must outlive the session; the
  // callbacks of its names are set, and its transport once that runs. Errors: ENODEV without FUSE,
  // ENOTSUP when options.transport cannot be had, those of mount(2).
  Session(FileSystem& file_system, const Options& options);
  // Unmounts, if that has not happened yet.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Answers requests until the mount ends: by umount(8) or by one of the signals above. `ready` is
  // called once, on another thread, when the mount is usable. Throws when requests cannot be
  // answered any more, or never could (ENOTSUP for transport=uring).
  void run(const std::function<void()>& ready);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mpoolfs

// A pool that the daemon serves to programs on the C library, in this process and without a kernel.
#pragma once

#include <memory>

#include "engine/pool/pool.h"
#include "fuse/client/backend.h"

namespace mpool::test {

// The mounted tree of a pool, and the daemon's control directory.
//
// Threads: all functions may be called at the same time.
class MountedPool {
 public:
  explicit MountedPool(std::unique_ptr<Pool> pool);
  ~MountedPool();
  MountedPool(const MountedPool&) = delete;
  MountedPool& operator=(const MountedPool&) = delete;

  Pool& pool() const;
  // The library of a program: it calls the files of the directory in place of system calls. Must
  // end before the mount.
  std::unique_ptr<libmpool::Backend> open();
  // Closes all files of programs, as the kernel does when they are killed: their later calls fail.
  void kill_programs();

 private:
  struct Served;
  const std::unique_ptr<Served> served_;
};

}  // namespace mpool::test

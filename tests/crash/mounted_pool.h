// A pool that the daemon serves to programs on the C library, in this process and without a kernel.
#pragma once

#include <memory>

#include "engine/pool/pool.h"
#include "tests/support/library_pools.h"

namespace mpool::test {

// Mounts the tree of the pool, and makes the daemon's control directory: the library calls its
// files in place of system calls. Both end with the back end.
LibraryPools::Opened through_mount(std::unique_ptr<Pool> pool);

}  // namespace mpool::test

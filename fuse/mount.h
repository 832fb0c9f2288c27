// From the name of a pool to its mount, and back.
#pragma once

#include "fuse/daemon.h"
#include "fuse/options.h"

namespace mpoolfs {

// Finds the pool's devices: sets options.device_paths and source. Throws Error when there are none.
void resolve(Options& options);

// Throws Error when nothing can be mounted there: the mount point is missing, not a directory or a
// stale mount, or there is no FUSE. Sets options.mount_point to an absolute path without symbolic
// links.
void check_mount_point(Options& options);

// Opens and activates the pool, mounts it, tells `startup` when the mount is usable, and answers
// requests until it ends; then everything is durable and closed. Throws Error: the message names
// the pool and says what to do.
void mount_and_serve(const Options& options, Startup& startup);

}  // namespace mpoolfs

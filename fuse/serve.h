// From the name of a pool to its mount, and back.
#pragma once

#include "engine/base/clock.h"
#include "engine/base/logger.h"
#include "fuse/daemon.h"
#include "fuse/options.h"

namespace mpoolfs {

// What a mount gets from its process.
struct Environment {
  mpool::Logger logger;
  mpool::Clock& clock;  // outlives the mount
};

// Finds the pool's devices: sets options.device_paths and source. Throws Error when there are none.
void resolve(Options& options, const Environment& environment);

// Throws Error when mounting there is impossible: the mount point is missing, not a directory or a
// stale mount, or FUSE is missing. Sets options.mount_point to an absolute path without symbolic
// links.
void check_mount_point(Options& options);

// Opens and activates the pool, mounts it, reports to `startup` when the mount is usable, and
// answers requests until the mount ends; then everything is durable and closed. Throws Error: the
// message names the pool and the action to take.
void mount_and_serve(const Options& options, const Environment& environment, Startup& startup);

}  // namespace mpoolfs

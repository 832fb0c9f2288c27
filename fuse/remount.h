// mount -o remount: changes the flags of a running mount.
#pragma once

#include "fuse/options.h"

namespace mpoolfs {

// Gives the mount on options.mount_point the flags of options.mount_flags; other flags stay. If the
// mount has become read-only, everything written before is durable on return.
// Errors: EINVAL no mount of mpoolfs is there, or an option that can only be chosen at mounting
// differs from the mount's; EROFS read-write was requested for a mount that was made read-only;
// EBUSY files are open for writing; EPERM without privilege; those of the daemon.
void remount(const Options& options);

}  // namespace mpoolfs

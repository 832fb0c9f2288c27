// mount -o remount: other flags for a mount that goes on.
#pragma once

#include <string>

#include "fuse/options.h"

namespace mpoolfs {

// Gives the mount on options.mount_point the flags of options.mount_flags; those not named stay. On
// return everything written before is durable when the mount has become read-only.
// Errors: EINVAL no mount of mpoolfs is there, or an option is given that can only be chosen when
// mounting and differs from what the mount has; EROFS read-write is asked for of a mount that was
// made read-only; EBUSY files are open for writing; EPERM without privilege; those of the daemon.
void remount(const Options& options);

}  // namespace mpoolfs

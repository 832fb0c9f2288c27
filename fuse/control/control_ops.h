// The control directory in the table of operations.
#pragma once

#include "fuse/ops/fuse_api.h"

namespace mpoolfs {

// operations(), except that requests for the control directory are answered from the session's
// FileSystem::control, which must be set. All other requests are passed on unchanged.
//
// The operations of the table never see an inode or handle of the control directory; a name in it
// can be neither made, changed nor removed. Requests for it are answered on threads that may block.
const fuse_lowlevel_ops& operations_with_control();

}  // namespace mpoolfs

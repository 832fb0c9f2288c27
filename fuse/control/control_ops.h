// The control directory in the table of operations.
#pragma once

#include "fuse/ops/fuse_api.h"

namespace mpoolfs {

// operations(), with requests that concern the control directory answered from the session's
// FileSystem::control, which must be set. All others are passed on as they come.
//
// Whatever an operation of the table is about, it never sees an inode or handle of the control
// directory; nor can a name of it be made, changed or taken away. Answers are given on the calling
// thread; only opening a file of the control directory may wait (ControlTree::open).
const fuse_lowlevel_ops& operations_with_control();

}  // namespace mpoolfs

// A view: an EROFS image mounted where nobody sees it, whose files the kernel reads from the
// devices of the pool by itself.
#pragma once

#include <span>
#include <string>

#include "engine/base/bytes.h"
#include "engine/device/file_descriptor.h"

namespace mpoolfs {

// The mount is detached: in no table of mounts, and gone with this object and the last open file of
// it, also when the process is killed.
//
// Threads: open() may be called from any.
class View {
 public:
  // Mounts `image` (erofs_image.h) over the devices, in its order. Errors: EPERM without
  // CAP_SYS_ADMIN, ENODEV when the kernel has no EROFS, EBUSY when somebody else holds a device
  // exclusively, those of loop devices (loop_device.h); with what the kernel says.
  View(mpool::ConstByteSpan image, std::span<const std::string> devices);

  // Opens a file of the image for reading. Error ENOENT, EMFILE, …
  mpool::FileDescriptor open(const std::string& name) const;

 private:
  mpool::FileDescriptor mount_;
};

}  // namespace mpoolfs

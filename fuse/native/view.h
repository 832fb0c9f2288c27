// A view: an EROFS image on a hidden mount, whose files the kernel reads from the devices of the
// pool.
#pragma once

#include <span>
#include <string>

#include "engine/base/bytes.h"
#include "engine/io/file_descriptor.h"

namespace mpoolfs {

// The mount is detached: it is in no mount table, and ends with this object and the last open file
// of it, also when the process is killed.
//
// Threads: open() may be called on any.
class View {
 public:
  // Mounts `image` (erofs_image.h) over the devices, in its order. Errors: EPERM without
  // CAP_SYS_ADMIN, ENODEV when the kernel has no EROFS, EBUSY when another holder has a device
  // exclusively, those of loop devices (loop_device.h); with the kernel's message.
  View(mpool::ConstByteSpan image, std::span<const std::string> devices);

  // Opens a file of the image for reading. Error ENOENT, EMFILE, …
  mpool::FileDescriptor open(const std::string& name) const;

 private:
  mpool::FileDescriptor mount_;
};

}  // namespace mpoolfs

// Loop devices: block devices over a file.
#pragma once

#include <string>

#include "engine/io/file_descriptor.h"

namespace mpoolfs {

// A read-only loop device. The kernel detaches it when its last user, a mount included, closes it;
// also when the process is killed.
class LoopDevice {
 public:
  // Attaches the file behind `fd` to a free loop device. `what` names it in messages. `direct`:
  // reads bypass the page cache of the file, otherwise ENOTSUP. Error EPERM without CAP_SYS_ADMIN,
  // ENOENT where the system has no loop devices, those of the ioctls.
  LoopDevice(int fd, const std::string& what, bool direct);

  const std::string& path() const { return path_; }
  int descriptor() const { return fd_.get(); }
  // Sets the read-ahead, in bytes, for mounts of the device.
  void set_read_ahead(unsigned long bytes) const;

 private:
  mpool::FileDescriptor fd_;
  std::string path_;
};

}  // namespace mpoolfs

// Loop devices: the block device that the kernel makes of a file.
#pragma once

#include <string>

#include "engine/device/file_descriptor.h"

namespace mpoolfs {

// A read-only loop device that is detached when the last who has it open, a mount included, lets go
// of it; also when the process is killed.
class LoopDevice {
 public:
  // Attaches the file behind `fd` to a free loop device. `what` names it in messages. `direct`:
  // reads go past the page cache of the file, or not at all (ENOTSUP). Error EPERM without
  // CAP_SYS_ADMIN, ENOENT where the system has no loop devices, those of the ioctls.
  LoopDevice(int fd, const std::string& what, bool direct);

  const std::string& path() const { return path_; }
  // How far the kernel reads ahead for whoever mounts it, in bytes.
  void set_read_ahead(unsigned long bytes) const;

 private:
  mpool::FileDescriptor fd_;
  std::string path_;
};

}  // namespace mpoolfs

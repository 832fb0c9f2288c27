// A mount for a test.
#pragma once

#include <cerrno>
#include <filesystem>
#include <string>
#include <utility>

#include <sched.h>
#include <sys/mount.h>

#include "engine/base/error.h"

namespace mpool::test {

// A mount in a mount namespace of its own: removed with the process at the latest. In a chroot,
// whose root is no mount point that could be made private, it is seen outside, too. Makes the
// directory. Needs root.
class PrivateMount {
 public:
  PrivateMount(const std::string& source, const char* type, std::string target)
      : target_(std::move(target)) {
    std::filesystem::create_directory(target_);
    if (::unshare(CLONE_NEWNS) != 0) raise_system(errno, target_, "unshare");
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 && errno != EINVAL) {
      raise_system(errno, "/", "mount");
    }
    if (::mount(source.c_str(), target_.c_str(), type, 0, nullptr) != 0) {
      raise_system(errno, target_, "mount");
    }
  }
  ~PrivateMount() { ::umount2(target_.c_str(), MNT_DETACH); }
  PrivateMount(const PrivateMount&) = delete;
  PrivateMount& operator=(const PrivateMount&) = delete;

 private:
  std::string target_;
};

}  // namespace mpool::test

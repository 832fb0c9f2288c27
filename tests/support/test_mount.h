// A mount for a test.
#pragma once

#include <cerrno>
#include <filesystem>
#include <string>
#include <utility>

#include <sys/mount.h>

#include "engine/base/error.h"

namespace mpool::test {

// Makes the directory. Needs root. In a program that tests/mount/private_mounts.py runs, it is not
// seen outside, and goes with the program at the latest.
class TestMount {
 public:
  TestMount(const std::string& source, const char* type, std::string target)
      : target_(std::move(target)) {
    std::filesystem::create_directory(target_);
    if (::mount(source.c_str(), target_.c_str(), type, 0, nullptr) != 0) {
      raise_system(errno, target_, "mount");
    }
  }
  ~TestMount() { ::umount2(target_.c_str(), MNT_DETACH); }
  TestMount(const TestMount&) = delete;
  TestMount& operator=(const TestMount&) = delete;

 private:
  std::string target_;
};

}  // namespace mpool::test

// A directory that is removed with the test.
#pragma once

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "engine/base/error.h"

namespace mpool::test {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    // mkdtemp(3) requires the six letters.
    std::string name = (std::filesystem::temp_directory_path() / "mpool-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) raise_system(errno, name, "mkdtemp");
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
    EXPECT_FALSE(error) << path_ << ": " << error.message();
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace mpool::test

// Shared by the tests of devices: directories, mounts and loop devices that are removed with the
// test, filled buffers.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/aligned_buffer.h"
#include "engine/base/error.h"
#include "engine/io/file_descriptor.h"
#include "tests/support/error_of.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_mount.h"

namespace mpool::test {

// A loop device with direct I/O over a file that has no name any more. The kernel detaches it when
// the last descriptor is closed (autoclear), so it is removed however the test ends. Needs root.
class LoopDevice {
 public:
  explicit LoopDevice(std::uint64_t size, std::uint32_t sector_size = 512) {
    const TemporaryDirectory directory;
    const std::string file = directory / "backing";
    backing_ = FileDescriptor(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!backing_) raise_system(errno, file, "create");
    if (::ftruncate(backing_.get(), static_cast<off_t>(size)) != 0) {
      raise_system(errno, file, "ftruncate");
    }
    // Another process may take the free device first: retry then.
    constexpr int kAttempts = 50;
    for (int attempt = 0; !attach(sector_size); ++attempt) {
      if (attempt == kAttempts) raise(EBUSY, "loop-control", "no free loop device to be had");
    }
  }

  const std::string& path() const { return path_; }
  // Allocated bytes of the file below: less after a discard.
  std::uint64_t allocated() const {
    struct stat status {};
    if (::fstat(backing_.get(), &status) != 0) raise_system(errno, path_, "fstat");
    return static_cast<std::uint64_t>(status.st_blocks) * 512;
  }

 private:
  bool attach(std::uint32_t sector_size) {
    const FileDescriptor control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    if (!control) raise_system(errno, "/dev/loop-control", "open");
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) raise_system(errno, "/dev/loop-control", "LOOP_CTL_GET_FREE");
    path_ = "/dev/loop" + std::to_string(number);
    loop_ = FileDescriptor(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    if (!loop_) raise_system(errno, path_, "open");
    struct loop_config config {};
    config.fd = static_cast<std::uint32_t>(backing_.get());
    config.block_size = sector_size;
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    if (::ioctl(loop_.get(), LOOP_CONFIGURE, &config) == 0) return true;
    if (errno != EBUSY) raise_system(errno, path_, "LOOP_CONFIGURE");
    return false;
  }

  FileDescriptor backing_;
  FileDescriptor loop_;
  std::string path_;
};

// Runs a shell command, which must succeed.
inline void run(const std::string& command) {
  if (std::system(command.c_str()) != 0) raise(EIO, command, "failed");
}

// `pages` pages, each byte a function of its position and `seed`.
inline AlignedBuffer page_pattern(std::size_t pages, unsigned seed) {
  AlignedBuffer buffer(pages * kPageSize);
  for (std::size_t i = 0; i < buffer.size(); ++i) {
    buffer.data()[i] = static_cast<std::byte>((i * 7 + (i >> 8) + seed * 131) & 0xff);
  }
  return buffer;
}

inline bool same(ConstByteSpan left, ConstByteSpan right) {
  return left.size() == right.size() && std::memcmp(left.data(), right.data(), left.size()) == 0;
}

inline bool all_zero(ConstByteSpan bytes) {
  for (const std::byte byte : bytes) {
    if (byte != std::byte{0}) return false;
  }
  return true;
}

}  // namespace mpool::test

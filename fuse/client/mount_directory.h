// The directory .mpool of a mount, as programs use it by system calls, or a test without a kernel.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/bytes.h"

namespace libmpool {

// An open file of the directory. Its end closes it.
//
// Threads, here and below: all functions may be called at the same time. They may block.
// Errors: mpool::Error with the errno of the system call.
class MountFile {
 public:
  virtual ~MountFile() = default;
  // All of the parts, at `offset`. EIO: the file ends before.
  virtual void read(std::uint64_t offset, std::span<const mpool::ByteSpan> parts) = 0;
  virtual void write(std::uint64_t offset, std::span<const mpool::ConstByteSpan> parts) = 0;
  // `structure`: of the size that the command names.
  virtual void ioctl(unsigned long command, void* structure) = 0;
  virtual std::uint64_t size() const = 0;  // bytes, when it was opened
  // Its content replaces the memory, shared and read-only. A child does not inherit it.
  virtual void map(mpool::ByteSpan memory) = 0;
  // Drops its pages from the page cache, as far as nothing has them mapped.
  virtual void drop_cached() = 0;
};

class MountDirectory {
 public:
  virtual ~MountDirectory() = default;
  // `name`: relative to the directory. flags: as of open(2).
  virtual std::unique_ptr<MountFile> open(const std::string& name, int flags) = 0;
  // The names in a directory of it.
  virtual std::vector<std::string> list(const std::string& name) = 0;
  // Failures are passed over.
  virtual void remove(const char* name) noexcept = 0;
};

// What open(2) says where no daemon serves.
bool says_no_mount(int code);

// Null: there is no mount.
std::unique_ptr<MountDirectory> open_mount_directory(const std::string& mount_point);

}  // namespace libmpool

// A session of the file .mpool/ctl of a mount (<mpool/ioctl.h>), and the files beside it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <mpool/ioctl.h>

#include "engine/base/bytes.h"
#include "engine/format/object_id.h"
#include "fuse/client/mount_directory.h"

namespace libmpool {

// MountFile::read() and write() of the file of an object. EIO: also when the daemon is gone.
void read_all(MountFile& file, std::uint64_t offset, std::span<const mpool::ByteSpan> parts,
              mpool::ObjectId object);
void write_all(MountFile& file, std::uint64_t offset, std::span<const mpool::ConstByteSpan> parts,
               mpool::ObjectId object);

// Threads: all functions may be called at the same time. buffer_mutex_ is held during calls.
class MountSession {
 public:
  // nullopt: there is no mount. Errors: EACCES this user may not, EPROTO another version; others of
  // open(2).
  static std::optional<MountSession> open(const std::string& mount_point);
  // The same by a directory that is open.
  explicit MountSession(std::unique_ptr<MountDirectory> directory);
  MountSession(MountSession&& other) noexcept
      : directory_(std::move(other.directory_)), control_(std::move(other.control_)) {}

  // One call, with its structure; `object`: which it concerns. EIO: the daemon is gone.
  template <typename T>
  void call(unsigned long command, T& structure, mpool::ObjectId object = {}) const {
    call_with(command, &structure, object);
  }
  // A call that needs the handle only; the value that it gives.
  std::uint64_t call_on(unsigned long command, std::uint32_t handle, std::uint64_t value = 0) const;
  void close_quietly(std::uint32_t handle) const noexcept;  // 0: none
  // One call whose further arguments are in the session's buffer. EFBIG: they do not fit.
  template <typename T>
  void call_with_buffer(unsigned long command, T& structure, mpool::ConstByteSpan arguments) {
    const std::lock_guard lock(buffer_mutex_);
    fill_buffer(arguments);
    call(command, structure);
  }
  // The ids in the directory "mblock" or "mlog".
  std::vector<mpool::ObjectId> list(const char* directory) const;
  // The file of an mblock. ENOENT also for one that the flags do not allow.
  std::unique_ptr<MountFile> open_mblock(mpool::ObjectId id, int flags) const;
  // The file of a map, for reading.
  std::unique_ptr<MountFile> open_map(const std::string& name) const;
  // Failures mean that it is gone.
  void remove_map(const std::string& name) const noexcept;
  // Appends a record to the log of a handle. EFBIG also for more than MPOOL_IOC_BUFFER bytes.
  void append(std::uint32_t handle, std::span<const mpool::ConstByteSpan> parts, bool durable);
  // The next record, up to the size of `into`: `read` is as after MPOOL_IOC_READ.
  mpool_ioc_read read(std::uint32_t handle, mpool::ByteSpan into);

 private:
  void fill_buffer(mpool::ConstByteSpan bytes) const;
  void call_with(unsigned long command, void* structure, mpool::ObjectId object) const;

  std::unique_ptr<MountDirectory> directory_;
  std::unique_ptr<MountFile> control_;
  std::mutex buffer_mutex_;  // guards the session's buffer
};

}  // namespace libmpool

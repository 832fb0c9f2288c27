// The open files of the kernel.
#pragma once

#include <atomic>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <utility>

#include "engine/file/open_file.h"
#include "fuse/ops/served_files.h"

namespace mpoolfs {

// One open file of the kernel; its address is the file handle of requests.
class KernelHandle {
 public:
  mpool::OpenFile& file() { return *file_; }
  bool append() const { return append_; }
  // The file may have mode bits that a write must clear (mode_after_write()).
  bool may_have_privileges() const { return privileges_.load(std::memory_order_relaxed); }
  void set_may_have_privileges(bool may) { privileges_ = may; }
  // Where reads through the page cache are noted; null: nowhere.
  ServedFile* served() const { return served_.get(); }
  void set_served(std::shared_ptr<ServedFile> served) { served_ = std::move(served); }

 private:
  friend class HandleTable;

  std::unique_ptr<mpool::OpenFile> file_;
  bool append_ = false;
  std::atomic<bool> privileges_ = false;
  std::shared_ptr<ServedFile> served_;
  std::list<KernelHandle>::iterator self_;
};

// All handles, in the order they were opened. close(2) returns before the RELEASE that closes the
// handle arrives; the engine keeps the order of changes (OpenFile::flush).
//
// Threads: all functions may be called at the same time; no lock is held while a file is closed.
class HandleTable {
 public:
  HandleTable() = default;
  ~HandleTable() { close_all(); }
  HandleTable(const HandleTable&) = delete;
  HandleTable& operator=(const HandleTable&) = delete;

  // Takes ownership of `file`, opened with `intent`.
  KernelHandle& add(std::unique_ptr<mpool::OpenFile> file, const mpool::OpenIntent& intent);
  // The file got mode bits that its writers must clear.
  void note_privileges(mpool::InodeNumber inode);
  // Closes the file and removes the handle. False: it would block (OpenFile::close); it must then
  // be called again.
  bool close(KernelHandle& handle, mpool::Blocking blocking) noexcept;
  // Closes all remaining files in the order of opening: the mount ended with files open.
  void close_all() noexcept;

  std::size_t count() const;

 private:
  void forget(KernelHandle& handle) noexcept;

  mutable std::mutex mutex_;
  std::list<KernelHandle> handles_;
};

}  // namespace mpoolfs

#include "fuse/ops/handle_table.h"

#include <iterator>
#include <utility>

namespace mpoolfs {

KernelHandle& HandleTable::add(std::unique_ptr<mpool::OpenFile> file,
                               const mpool::OpenIntent& intent) {
  try {
    const std::lock_guard lock(mutex_);
    KernelHandle& handle = handles_.emplace_back();
    handle.self_ = std::prev(handles_.end());
    handle.file_ = std::move(file);
    handle.append_ = intent.append;
    return handle;
  } catch (...) {
    file->close();  // out of memory, before it was moved from
    throw;
  }
}

void HandleTable::note_privileges(mpool::InodeNumber inode) {
  const std::lock_guard lock(mutex_);
  for (KernelHandle& handle : handles_) {
    if (handle.file_->inode() == inode) handle.set_may_have_privileges(true);
  }
}

bool HandleTable::close(KernelHandle& handle, mpool::Blocking blocking) noexcept {
  if (!handle.file_->close(blocking)) return false;
  forget(handle);
  return true;
}

void HandleTable::forget(KernelHandle& handle) noexcept {
  const std::lock_guard lock(mutex_);
  handles_.erase(handle.self_);
}

void HandleTable::close_all() noexcept {
  while (true) {
    KernelHandle* first = nullptr;
    {
      const std::lock_guard lock(mutex_);
      if (handles_.empty()) return;
      first = &handles_.front();
    }
    close(*first, mpool::Blocking::allowed);
  }
}

std::size_t HandleTable::count() const {
  const std::lock_guard lock(mutex_);
  return handles_.size();
}

}  // namespace mpoolfs

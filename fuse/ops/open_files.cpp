#include "fuse/ops/open_files.h"

#include <utility>
#include <vector>

namespace mpoolfs {

Handle& OpenFiles::add(std::unique_ptr<mpool::OpenFile> file, const mpool::OpenIntent& intent) {
  // What readers of a log see does not depend on closes.
  const bool counts = intent.write && file->kind() != mpool::FileKind::log;
  try {
    const std::lock_guard lock(mutex_);
    if (counts) ++writers_[file->inode()].handles;
    Handle& handle = handles_.emplace_back();
    handle.self_ = std::prev(handles_.end());
    handle.file_ = std::move(file);
    handle.writes_ = counts;
    handle.append_ = intent.append;
    return handle;
  } catch (...) {
    // Out of memory. A count left behind makes settle() take its whole time, nothing worse.
    file->close();
    throw;
  }
}

void OpenFiles::note_flush(Handle& handle) {
  if (!handle.writes_) return;
  const std::lock_guard lock(mutex_);
  Writers& writers = writers_[handle.file_->inode()];
  writers.last_flush = Clock::now();
  if (handle.flushed_) return;
  handle.flushed_ = true;
  ++writers.flushed;
}

void OpenFiles::note_write(Handle& handle) {
  // Only the first write after a close needs the lock.
  if (!handle.writes_ || !handle.flushed_.load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(mutex_);
  if (!handle.flushed_) return;
  handle.flushed_ = false;
  --writers_[handle.file_->inode()].flushed;
  changed_.notify_all();
}

void OpenFiles::close(Handle& handle) noexcept {
  handle.file_->close();
  forget(handle);
}

void OpenFiles::forget(Handle& handle) noexcept {
  const std::lock_guard lock(mutex_);
  if (handle.writes_) {
    const auto found = writers_.find(handle.file_->inode());
    if (handle.flushed_) --found->second.flushed;
    if (--found->second.handles == 0) writers_.erase(found);
    changed_.notify_all();
  }
  handles_.erase(handle.self_);
}

void OpenFiles::close_all() noexcept {
  while (true) {
    Handle* first = nullptr;
    {
      const std::lock_guard lock(mutex_);
      if (handles_.empty()) return;
      first = &handles_.front();
    }
    close(*first);
  }
}

void OpenFiles::settle(mpool::InodeNumber inode, std::chrono::milliseconds longest) {
  std::unique_lock lock(mutex_);
  while (true) {
    const auto found = writers_.find(inode);
    if (found == writers_.end() || !found->second.closing()) return;
    const Clock::time_point deadline = found->second.last_flush + longest;
    if (Clock::now() >= deadline) return;
    changed_.wait_until(lock, deadline);
  }
}

void OpenFiles::settle_all(std::chrono::milliseconds longest) {
  std::vector<mpool::InodeNumber> closing;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [inode, writers] : writers_) {
      if (writers.closing()) closing.push_back(inode);
    }
  }
  for (const mpool::InodeNumber inode : closing)
    settle(inode, longest);
}

std::size_t OpenFiles::count() const {
  const std::lock_guard lock(mutex_);
  return handles_.size();
}

}  // namespace mpoolfs

#include "fuse/ops/handle_table.h"

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

#include <spdlog/spdlog.h>

#include "fuse/reactor/worker_pool.h"

namespace mpoolfs {

KernelHandle& HandleTable::add(std::unique_ptr<mpool::OpenFile> file,
                               const mpool::OpenIntent& intent, pid_t process) {
  try {
    const std::lock_guard lock(mutex_);
    KernelHandle& handle = handles_.emplace_back();
    handle.self_ = std::prev(handles_.end());
    handle.file_ = std::move(file);
    handle.opener_ = process;
    // The content that readers of a log see does not depend on closes.
    handle.writes_ = intent.write && handle.file_->kind() != mpool::FileKind::log;
    handle.append_ = intent.append;
    return handle;
  } catch (...) {
    file->close();  // out of memory, before it was moved from
    throw;
  }
}

void HandleTable::flush(KernelHandle& handle, std::uint64_t owner, pid_t process) {
  between_notes(handle, owner, process, [&] {
    handle.file_->flush();
    return true;
  });
}

bool HandleTable::flush_now(KernelHandle& handle, std::uint64_t owner, pid_t process) {
  return between_notes(handle, owner, process, [&] { return handle.file_->flush_now(); });
}

template <typename Flush>
bool HandleTable::between_notes(KernelHandle& handle, std::uint64_t owner, pid_t process,
                                const Flush& flush) {
  flush_arrived(handle, owner, process);
  bool ends = true;
  try {
    ends = flush();
  } catch (...) {
    flush_ends(handle);
    throw;
  }
  if (ends) flush_ends(handle);
  return ends;
}

void HandleTable::flush_arrived(KernelHandle& handle, std::uint64_t owner, pid_t process) {
  if (!handle.writes_) return;
  std::uint64_t writer = owner;
  // Another process's close, while the writing process has the file open.
  if (!handle.writer_.compare_exchange_strong(writer, 0) && writer != 0) return;
  const std::lock_guard lock(mutex_);
  // The earlier FLUSH was answered: that close was not the last one.
  if (handle.closing_ != 0 && handle.flushed_) {
    handle.shared_ = true;
    stop_closing(handle);
  }
  start_closing(handle);
  handle.flusher_ = process;
  handle.asked_ = false;
}

void HandleTable::flush_ends(KernelHandle& handle) noexcept {
  if (handle.closing_ == 0) return;
  const std::lock_guard lock(mutex_);
  handle.flushed_ = Clock::now();
  changed_.notify_all();
}

void HandleTable::start_closing(KernelHandle& handle) {
  if (handle.closing_ == 0) {
    closing_.emplace(next_number_, &handle);
    handle.closing_ = next_number_++;
  }
  handle.flushed_.reset();
}

void HandleTable::note_write(KernelHandle& handle, std::uint64_t owner) {
  if (std::uint64_t nobody = 0; handle.writer_.load(std::memory_order_relaxed) == nobody) {
    handle.writer_.compare_exchange_strong(nobody, owner);
  }
  // Only the first write after a close needs the lock.
  if (handle.closing_.load(std::memory_order_relaxed) == 0) return;
  const std::lock_guard lock(mutex_);
  stop_closing(handle);
}

void HandleTable::note_privileges(mpool::InodeNumber inode) {
  const std::lock_guard lock(mutex_);
  for (KernelHandle& handle : handles_) {
    if (handle.file_->inode() == inode) handle.set_may_have_privileges(true);
  }
}

void HandleTable::stop_closing(KernelHandle& handle) {
  if (handle.closing_ == 0) return;
  closing_.erase(handle.closing_);
  handle.closing_ = 0;
  changed_.notify_all();
}

void HandleTable::release_arrived(KernelHandle& handle) noexcept {
  if (!handle.writes_) return;
  const std::lock_guard lock(mutex_);
  handle.released_ = true;
  try {
    start_closing(handle);
  } catch (const std::bad_alloc&) {
    // There was no FLUSH, or waiting for it timed out: no request waits for this RELEASE.
  }
}

void HandleTable::close(KernelHandle& handle) noexcept {
  release_arrived(handle);
  if (handle.closing_ != 0) {
    std::unique_lock lock(mutex_);
    wait_for_numbers_below(lock, handle.closing_);
  }
  handle.file_->close();
  forget(handle);
}

bool HandleTable::close_now(KernelHandle& handle) noexcept {
  release_arrived(handle);
  if (handle.closing_ != 0) {
    const std::lock_guard lock(mutex_);
    if (!closing_.empty() && closing_.begin()->first < handle.closing_) return false;
  }
  if (!handle.file_->close_now()) return false;
  forget(handle);
  return true;
}

void HandleTable::forget(KernelHandle& handle) noexcept {
  const std::lock_guard lock(mutex_);
  stop_closing(handle);
  handles_.erase(handle.self_);
}

void HandleTable::close_all() noexcept {
  while (true) {
    KernelHandle* first = nullptr;
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [number, handle] : std::exchange(closing_, {}))
        handle->closing_ = 0;
      if (handles_.empty()) return;
      first = &handles_.front();
    }
    close(*first);
  }
}

// With the lock held, the handle stays valid unless it is taken out of closing_; during the wait it
// may be.
void HandleTable::wait_for(std::unique_lock<std::mutex>& lock, KernelHandle& handle) {
  const std::uint64_t number = handle.closing_;
  const WorkerPool::Waiting waiting;
  while (closing_.contains(number)) {
    if (!handle.flushed_) {
      changed_.wait(lock);
      continue;
    }
    const auto now = Clock::now();
    const auto ask_at = *handle.flushed_ + kAskTime;
    const auto until =
        *handle.flushed_ + (handle.shared_ ? settle_time_ / kSharedPart : settle_time_);
    if (now >= until) {
      handle.shared_ = true;
      stop_closing(handle);
    } else if (handle.asked_) {
      changed_.wait_until(lock, until);
    } else if (now < ask_at) {
      changed_.wait_until(lock, ask_at);
    } else {
      ask(lock, handle);
    }
  }
}

// Once after each FLUSH. The handle may be removed meanwhile, or be closed again.
void HandleTable::ask(std::unique_lock<std::mutex>& lock, KernelHandle& handle) {
  handle.asked_ = true;
  if (!has_open_) return;
  const std::uint64_t number = handle.closing_;
  const auto flushed = handle.flushed_;
  const pid_t flusher = handle.flusher_;
  const pid_t opener = handle.opener_;
  const mpool::InodeNumber inode = handle.file_->inode();
  const auto asked = [&](pid_t process) { return process != 0 && has_open_(process, inode); };
  lock.unlock();
  bool has_open = false;
  try {
    has_open = asked(flusher) || (opener != flusher && asked(opener));
  } catch (const std::exception& error) {
    spdlog::warn("cannot determine which processes have inode {} open: {}", inode, error.what());
  }
  lock.lock();
  if (has_open && closing_.contains(number) && handle.flushed_ == flushed) stop_closing(handle);
}

void HandleTable::wait_for_numbers_below(std::unique_lock<std::mutex>& lock, std::uint64_t limit) {
  while (!closing_.empty() && closing_.begin()->first < limit) {
    wait_for(lock, *closing_.begin()->second);
  }
}

void HandleTable::settle(mpool::InodeNumber inode) {
  std::unique_lock lock(mutex_);
  const std::uint64_t limit = next_number_;
  while (KernelHandle* const handle = find_closing(inode)) {
    if (handle->closing_ >= limit) return;
    wait_for(lock, *handle);
  }
}

// Returns the first one.
KernelHandle* HandleTable::find_closing(mpool::InodeNumber inode, bool released) const {
  const auto found = std::ranges::find_if(closing_, [&](const auto& entry) {
    return entry.second->file_->inode() == inode && (entry.second->released_ || !released);
  });
  return found == closing_.end() ? nullptr : found->second;
}

bool HandleTable::committing(mpool::InodeNumber inode) const {
  const std::lock_guard lock(mutex_);
  return find_closing(inode, true) != nullptr;
}

void HandleTable::wait_for_commit(mpool::InodeNumber inode) {
  std::unique_lock lock(mutex_);
  while (KernelHandle* const handle = find_closing(inode, true))
    wait_for(lock, *handle);
}

void HandleTable::settle_earlier() {
  std::unique_lock lock(mutex_);
  wait_for_numbers_below(lock, next_number_);
}

bool HandleTable::settled() const {
  const std::lock_guard lock(mutex_);
  return closing_.empty();
}

std::size_t HandleTable::count() const {
  const std::lock_guard lock(mutex_);
  return handles_.size();
}

}  // namespace mpoolfs

#include "fuse/ops/notifier.h"

#include <cerrno>
#include <chrono>
#include <exception>
#include <new>
#include <utility>

#include "engine/base/error.h"

namespace mpoolfs {

namespace {

constexpr std::chrono::seconds kFinishTime{1};

// Offset of the first page to invalidate; a negative offset keeps all pages.
constexpr off_t kNoPages = -1;
constexpr off_t kAllPages = 0;

}  // namespace

Notifier::Notifier(fuse_session* session, mpool::Logger logger, mpool::Clock& clock)
    : session_(session), logger_(std::move(logger)), clock_(clock), thread_([this] { run(); }) {}

Notifier::~Notifier() {
  finish();
  join();
}

void Notifier::join() {
  if (thread_.joinable()) thread_.join();
}

void Notifier::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    if (finished_) return;
    queue_.push_back(std::move(task));
  }
  // Without the lock, which the woken thread takes first.
  changed_.notify_all();
}

// ENOENT: the kernel does not know the inode or name, so no cache is stale. EBADF and ENODEV: the
// mount has ended.
void Notifier::log_unexpected(const char* what, std::uint64_t inode, int result) const {
  if (result == 0 || result == -ENOENT || result == -EBADF || result == -ENODEV) return;
  logger_.warn("{} of inode {}: the kernel refused: {}", what, inode, mpool::errno_text(-result));
}

void Notifier::invalidate(std::uint64_t inode, off_t pages) const {
  log_unexpected("invalidation", inode,
                 fuse_lowlevel_notify_inval_inode(session_, inode, pages, 0));
}

void Notifier::attributes_changed(std::uint64_t inode) {
  post([this, inode] { invalidate(inode, kNoPages); });
}

void Notifier::content_committed(std::uint64_t inode) {
  post([this, inode] {
    bool had_readers = false;
    {
      const std::lock_guard lock(mutex_);
      had_readers = early_read_.erase(inode) > 0;
    }
    invalidate(inode, had_readers ? kAllPages : kNoPages);
  });
}

void Notifier::drop_pages(std::uint64_t inode, std::uint64_t offset, std::uint64_t size) {
  post([this, inode, offset, size] {
    log_unexpected("dropping pages", inode,
                   fuse_lowlevel_notify_inval_inode(session_, inode, static_cast<off_t>(offset),
                                                    static_cast<off_t>(size)));
  });
}

void Notifier::note_early_reader(std::uint64_t inode) {
  const std::lock_guard lock(mutex_);
  early_read_.insert(inode);
}

void Notifier::entries_changed(std::uint64_t directory) noexcept {
  try {
    const std::lock_guard lock(mutex_);
    if (finished_) return;
    const bool first = directories_.empty();
    directories_.insert(directory);
    if (!first) return;
    directories_due_ = clock_.now() + kDirectoryTime;
  } catch (const std::bad_alloc&) {
    return;  // the change itself is done, and the notification is rarely needed
  }
  changed_.notify_all();
}

void Notifier::name_removed(std::uint64_t parent, const std::string& name, std::uint64_t inode) {
  post([this, parent, name, inode] {
    log_unexpected("removal", inode,
                   fuse_lowlevel_notify_delete(session_, parent, inode, name.c_str(), name.size()));
  });
}

void Notifier::finish() {
  std::unique_lock lock(mutex_);
  finished_ = true;
  queue_.clear();
  changed_.notify_all();
  clock_.wait_until(changed_, lock, clock_.now() + kFinishTime, [this] { return !busy_; });
}

// Blocks until there is work, or the thread must end.
void Notifier::wait_for_work(Lock& lock) {
  while (!finished_ && queue_.empty()) {
    if (directories_.empty()) {
      changed_.wait(lock);
    } else if (clock_.now() < directories_due_) {
      clock_.wait_until(changed_, lock, directories_due_);
    } else {
      return;
    }
  }
}

void Notifier::run() {
  Lock lock(mutex_);
  while (true) {
    wait_for_work(lock);
    if (finished_) return;
    std::vector<std::function<void()>> tasks;
    tasks.swap(queue_);
    if (!directories_.empty() && clock_.now() >= directories_due_) {
      tasks.push_back([this, directories = std::exchange(directories_, {})] {
        for (const std::uint64_t directory : directories)
          invalidate(directory, kNoPages);
      });
    }
    for (auto& task : tasks) {
      if (finished_) return;
      busy_ = true;
      lock.unlock();
      try {
        task();
      } catch (const std::exception& error) {
        logger_.error("telling the kernel of a change: {}", error.what());
      }
      lock.lock();
      busy_ = false;
      changed_.notify_all();
    }
  }
}

}  // namespace mpoolfs

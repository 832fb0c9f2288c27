#include "fuse/ops/notifier.h"

#include <cerrno>
#include <chrono>
#include <exception>
#include <utility>

#include <spdlog/spdlog.h>

#include "engine/base/error.h"

namespace mpoolfs {

namespace {

constexpr std::chrono::seconds kFinishTime{1};

// ENOENT: the kernel does not know the inode or name, so there is nothing stale. EBADF and ENODEV:
// the mount is gone.
void log_unexpected(const char* what, std::uint64_t inode, int result) {
  if (result == 0 || result == -ENOENT || result == -EBADF || result == -ENODEV) return;
  spdlog::warn("{} of inode {}: the kernel refused: {}", what, inode, mpool::errno_text(-result));
}

}  // namespace

Notifier::Notifier(fuse_session* session) : session_(session), thread_([this] { run(); }) {}

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
  // Without the lock, which the one woken takes first of all.
  changed_.notify_all();
}

void Notifier::attributes_changed(std::uint64_t inode) {
  post([this, inode] {
    // A negative offset leaves the pages alone.
    log_unexpected("invalidation", inode, fuse_lowlevel_notify_inval_inode(session_, inode, -1, 0));
  });
}

void Notifier::name_vanished(std::uint64_t parent, const std::string& name, std::uint64_t inode) {
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
  changed_.wait_for(lock, kFinishTime, [this] { return !busy_; });
}

void Notifier::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return finished_ || !queue_.empty(); });
    if (finished_) return;
    std::vector<std::function<void()>> tasks;
    tasks.swap(queue_);
    for (auto& task : tasks) {
      if (finished_) return;
      busy_ = true;
      lock.unlock();
      try {
        task();
      } catch (const std::exception& error) {
        spdlog::error("telling the kernel of a change: {}", error.what());
      }
      lock.lock();
      busy_ = false;
      changed_.notify_all();
    }
  }
}

}  // namespace mpoolfs

// Invalidates caches of the kernel.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "engine/base/clock.h"
#include "engine/base/logger.h"
#include "fuse/ops/fuse_api.h"

namespace mpoolfs {

// One thread with a queue. An invalidation blocks inside the kernel on locks and pages held by
// requests in progress, so it never runs on a thread that answers requests, nor under a lock of
// this program.
//
// Threads: all other functions may be called at the same time; those that queue never block on the
// kernel.
class Notifier {
 public:
  static constexpr std::chrono::milliseconds kDirectoryTime{20};

  // The session must be mounted, and stay mounted until finish(). The clock must outlive this.
  explicit Notifier(fuse_session* session, mpool::Logger logger = {},
                    mpool::Clock& clock = mpool::system_clock());
  ~Notifier();

  // Attributes of the inode are stale.
  void attributes_changed(std::uint64_t inode);
  // The content of the inode was committed: its attributes are stale, and also its pages if it had
  // readers before.
  void content_committed(std::uint64_t inode);
  // Drops cached pages of a part of a file; size 0: to its end.
  void drop_pages(std::uint64_t inode, std::uint64_t offset, std::uint64_t size);
  // A file that is being written is opened for reading. A mapping may keep a page that was read
  // during a write to it.
  void note_early_reader(std::uint64_t inode);
  // A request changed entries of a directory. The kernel knows, but accepts an answer about the
  // directory that was already in transit: it is notified after kDirectoryTime, once for all
  // changes of that period.
  void entries_changed(std::uint64_t directory) noexcept;
  // The name was removed, but not by a request.
  void name_removed(std::uint64_t parent, const std::string& name, std::uint64_t inode);
  // Queues any other task that may block on the kernel.
  void post(std::function<void()> task);

  // Drops the queue, accepts no new entries, and waits briefly for the notification in progress.
  // Afterwards the session may be unmounted, which ends a notification blocked in the kernel.
  void finish();
  // Waits for the thread to end; after finish(). Must not be called by two threads at a time.
  void join();

 private:
  using Lock = std::unique_lock<std::mutex>;

  void run();
  void wait_for_work(Lock& lock);
  void invalidate(std::uint64_t inode, off_t pages) const;
  void log_unexpected(const char* what, std::uint64_t inode, int result) const;

  fuse_session* session_;
  const mpool::Logger logger_;
  mpool::Clock& clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::function<void()>> queue_;
  std::unordered_set<std::uint64_t> directories_;  // directories with changed entries
  std::unordered_set<std::uint64_t> early_read_;   // inodes that had readers before their commit
  mpool::Clock::Time directories_due_;             // valid if there are any
  bool finished_ = false;
  bool busy_ = false;
  std::thread thread_;
};

}  // namespace mpoolfs

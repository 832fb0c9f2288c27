// Telling the kernel that what it caches is no longer true.
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

#include "fuse/ops/fuse_api.h"

namespace mpoolfs {

// One thread with a queue. Invalidation waits inside the kernel for locks and pages that requests
// under way hold, so it never happens on a thread that answers requests, nor under a lock of ours.
//
// Threads: all other functions may be called at the same time; those that queue never wait for the
// kernel.
class Notifier {
 public:
  static constexpr std::chrono::milliseconds kDirectoryTime{20};

  // The session must be mounted, and stay so until finish().
  explicit Notifier(fuse_session* session);
  ~Notifier();

  // Attributes of the inode are stale.
  void attributes_changed(std::uint64_t inode);
  // The content of the inode was committed: its attributes are stale, and pages if it had readers
  // before.
  void content_committed(std::uint64_t inode);
  // A file that is being written is opened for reading. A mapping keeps a page that was read while
  // a write to it was under way.
  void note_early_reader(std::uint64_t inode);
  // Entries of a directory were changed by a request. The kernel knows, but takes an answer about
  // the directory for true that was on its way before: it is told kDirectoryTime later, once for
  // all changes of that time.
  void entries_changed(std::uint64_t directory) noexcept;
  // The name is gone, without a request having removed it.
  void name_vanished(std::uint64_t parent, const std::string& name, std::uint64_t inode);
  // Any other thing that may wait for the kernel.
  void post(std::function<void()> task);

  // Drops what is queued, takes nothing more, and waits a moment for the notification under way.
  // After it the session may be unmounted, which ends a notification that hangs in the kernel.
  void finish();
  // Waits for the thread to end; after finish(). Not to be called from two threads at a time.
  void join();

 private:
  using Clock = std::chrono::steady_clock;
  using Lock = std::unique_lock<std::mutex>;

  void run();
  void wait_for_work(Lock& lock);

  fuse_session* session_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::function<void()>> queue_;
  std::unordered_set<std::uint64_t> directories_;  // whose entries changed
  std::unordered_set<std::uint64_t> early_read_;   // inodes that had readers before their commit
  Clock::time_point directories_due_;              // when there are any
  bool finished_ = false;
  bool busy_ = false;
  std::thread thread_;
};

}  // namespace mpoolfs

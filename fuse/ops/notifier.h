// Telling the kernel that what it caches is no longer true.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
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
  // The session must be mounted, and stay so until finish().
  explicit Notifier(fuse_session* session);
  ~Notifier();

  // Attributes of the inode are stale.
  void attributes_changed(std::uint64_t inode);
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
  void run();

  fuse_session* session_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::function<void()>> queue_;
  bool finished_ = false;
  bool busy_ = false;
  std::thread thread_;
};

}  // namespace mpoolfs

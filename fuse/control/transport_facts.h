// What the status file says about the way requests reach the file system.
#pragma once

#include <cstddef>
#include <mutex>
#include <string>
#include <utility>

namespace mpoolfs {

struct TransportFacts {
  // "uring" or "dev" (mpoolfs(8), "TRANSPORTS"); empty before it is known.
  std::string name;
  std::string reason;         // why "dev" where "uring" would have been taken; else empty
  unsigned queues = 0;        // queues requests arrive on
  unsigned threads = 0;       // threads with a ring; workers come as they are needed
  std::size_t max_write = 0;  // bytes, the largest write one request carries
  bool passthrough = false;   // the kernel can be given backing files
};

// The facts of a running transport. Empty before it runs; they change when it falls back to
// /dev/fuse. Threads: all functions may be called at the same time.
class SharedTransportFacts {
 public:
  TransportFacts get() const {
    const std::lock_guard lock(mutex_);
    return facts_;
  }
  void set(TransportFacts facts) {
    const std::lock_guard lock(mutex_);
    facts_ = std::move(facts);
  }

 private:
  mutable std::mutex mutex_;
  TransportFacts facts_;
};

}  // namespace mpoolfs

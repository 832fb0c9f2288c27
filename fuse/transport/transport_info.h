// The transport of requests as the status file shows it.
#pragma once

#include <cstddef>
#include <mutex>
#include <string>
#include <utility>

namespace mpoolfs {

struct TransportInfo {
  // "uring" or "dev" (mpoolfs(8), "TRANSPORTS"); empty before it is known.
  std::string name;
  std::string reason;         // why "dev" is used although "uring" was preferred; else empty
  unsigned queues = 0;        // queues on which requests arrive
  unsigned threads = 0;       // threads with a ring; workers are started on demand
  std::size_t max_write = 0;  // bytes, the largest write in one request
  bool passthrough = false;   // the kernel accepts backing files
};

// The info of a running transport. Empty before it runs; changes when it falls back to
// /dev/fuse. Threads: all functions may be called at the same time.
class SharedTransportInfo {
 public:
  TransportInfo get() const {
    const std::lock_guard lock(mutex_);
    return info_;
  }
  void set(TransportInfo info) {
    const std::lock_guard lock(mutex_);
    info_ = std::move(info);
  }

 private:
  mutable std::mutex mutex_;
  TransportInfo info_;
};

}  // namespace mpoolfs

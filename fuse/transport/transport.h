// The transport of requests and answers: FUSE-over-io_uring or /dev/fuse, both with one ring per
// CPU.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "fuse/ops/fuse_api.h"
#include "fuse/options.h"
#include "fuse/transport/transport_info.h"

namespace mpool {
class Namespace;
class Pool;
}  // namespace mpool

namespace mpoolfs {

// The reason why the kernel does not offer FUSE-over-io_uring, and the remedy; nullopt when it
// does.
std::optional<std::string> why_no_uring();

// Threads: the constructor and the destructor on one; catch_up() on any that answers no request
// without blocking; the events are called on threads of the transport.
class Transport {
 public:
  struct Events {
    // Requests are answered from now on. Called once. Requests may wait for it: it returns soon.
    std::function<void(const TransportInfo&)> ready;
    // The mount has ended, or (with a reason) can no longer be served. Called once or more.
    std::function<void(const std::string& why)> ended;
  };

  // Starts answering the requests of a mounted session; it, pool and `names` must outlive it.
  // `choice`: automatic falls back to /dev/fuse if FUSE-over-io_uring is refused; uring ends with
  // the reason instead. `passthrough`: request it; `ready` gets whether it was accepted. `workers`:
  // as WorkerPool. Errors: those of io_uring_setup(2), ENOMEM.
  Transport(fuse_session* session, const mpool::Pool& pool, mpool::Namespace& names,
            TransportChoice choice, bool passthrough, unsigned workers, Events events);
  // Finishes and answers the requests in progress. Requests that the kernel has not handed out by
  // then fail without having been performed.
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  // Returns when the requests that the kernel had sent before the call have been begun: those that
  // need no blocking are performed. Requests for which all entries are in use, more than
  // Tunables::Requests::entries of a CPU, are not waited for. Calls wait for one another.
  void catch_up();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mpoolfs

// How requests come from the kernel and answers go back: FUSE-over-io_uring or /dev/fuse, both
// through one ring per CPU.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "fuse/control/transport_facts.h"
#include "fuse/ops/fuse_api.h"
#include "fuse/options.h"

namespace mpoolfs {

// Why the kernel has no FUSE-over-io_uring for us, and what would change that; nullopt when it has.
std::optional<std::string> why_no_uring();

// Threads: the constructor and the destructor on one; the events come on threads of the transport.
class Transport {
 public:
  struct Events {
    // Requests are being answered from now on. Once. Requests may wait for it: it returns soon.
    std::function<void(const TransportFacts&)> ready;
    // The mount is gone, or (with a reason) cannot be served any more. Once or more.
    std::function<void(const std::string& why)> ended;
  };

  // Starts answering the requests of a mounted session, which must outlive it. `choice`:
  // automatic falls back to /dev/fuse where FUSE-over-io_uring is refused; uring ends with the
  // reason instead. `passthrough`: asked for; the facts say whether it was agreed. `workers` as
  // WorkerPool. Errors: those of io_uring_setup(2), ENOMEM.
  Transport(fuse_session* session, TransportChoice choice, bool passthrough, unsigned workers,
            Events events);
  // Finishes and answers the requests under way; what the kernel has not handed out by then fails,
  // and was not done.
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mpoolfs

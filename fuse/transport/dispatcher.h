// From a request that has arrived to libfuse, which parses it and calls fuse/ops, and from
// libfuse's answer back to the request.
#pragma once

#include <functional>

#include <sys/uio.h>

#include "fuse/ops/fuse_api.h"
#include "fuse/reactor/worker_pool.h"
#include "fuse/transport/replies.h"
#include "fuse/transport/request.h"

namespace mpoolfs {

// Threads: handle() on the thread of the request's reactor; the rest on any.
class Dispatcher {
 public:
  // Takes over the session's input and output; `fd`: its /dev/fuse. Both must outlive it. `workers`
  // as WorkerPool.
  Dispatcher(fuse_session* session, int fd, unsigned workers);

  // Before the first request: what the answer to INIT is to ask for, and what to call, on the
  // thread that gave it, when the kernel has the answer; with what was asked for, because it was
  // offered.
  void on_init(Extensions wanted, std::function<void(Extensions taken)> answered);

  // Answers the request, now or later, here or on a worker.
  void handle(Request& request) noexcept;

  // Waits for the workers to answer what they have; nothing is handled after it.
  void finish() { workers_.finish(); }

 private:
  friend class Request;

  static ssize_t write_reply(int fd, iovec* parts, int count, void* user_data);
  static ssize_t refuse_read(int fd, void* buffer, size_t size, void* user_data);

  ssize_t complete_and_answer(Request& request, const iovec* parts, int count) noexcept;
  void process(Request& request, bool may_wait) noexcept;

  fuse_session* const session_;
  Extensions wanted_;
  std::function<void(Extensions)> init_answered_;
  WorkerPool workers_;
};

}  // namespace mpoolfs

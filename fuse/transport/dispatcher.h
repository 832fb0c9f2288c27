// Passes an arrived request to libfuse, which parses it and calls fuse/ops, and libfuse's answer
// back to the request.
#pragma once

#include <functional>

#include <sys/uio.h>

#include "fuse/ops/fuse_api.h"
#include "fuse/runtime/worker_pool.h"
#include "fuse/transport/replies.h"
#include "fuse/transport/request.h"
#include "fuse/transport/request_metrics.h"

namespace mpoolfs {

// Threads: handle() on the thread of the request's reactor; the rest on any.
class Dispatcher {
 public:
  // Takes over the session's input and output; `fd`: its /dev/fuse. Both must outlive it.
  // `workers`: as WorkerPool. Requests may wait for closes, which therefore have as many threads of
  // their own.
  // `metrics` and `clock` must outlive it.
  Dispatcher(fuse_session* session, int fd, unsigned workers, const mpool::Logger& logger,
             mpool::Metrics& metrics, mpool::Clock& clock);

  // Called before the first request. `wanted`: the extensions to request in the answer to INIT.
  // `answered` is called when the kernel has the answer, on the thread that gave it, with the
  // extensions that were offered and requested.
  void on_init(Extensions wanted, std::function<void(Extensions taken)> answered);

  // Answers the request, now or later, on this thread or a worker.
  void handle(Request& request) noexcept;

  // Waits for the workers to answer their requests; no request may be handled afterwards.
  void finish() {
    workers_.finish();
    closers_.finish();
  }

 private:
  friend class Request;

  static ssize_t write_reply(int fd, iovec* parts, int count, void* user_data);
  static ssize_t refuse_read(int fd, void* buffer, size_t size, void* user_data);

  ssize_t complete_and_answer(Request& request, const iovec* parts, int count) noexcept;
  void process(Request& request, bool can_block) noexcept;

  fuse_session* const session_;
  const mpool::Logger logger_;
  RequestMetrics metrics_;
  mpool::Clock& clock_;
  Extensions wanted_;
  std::function<void(Extensions)> init_answered_;
  WorkerPool workers_;
  WorkerPool closers_;
};

}  // namespace mpoolfs

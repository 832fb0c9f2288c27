// What a request's handler can use while it answers, whoever brought the request.
#pragma once

#include <cstdint>

#include "engine/base/bytes.h"
#include "engine/device/io_ring.h"
#include "fuse/ops/data_job.h"
#include "fuse/ops/fuse_api.h"
#include "fuse/reactor/read_ahead.h"
#include "fuse/reactor/write_behind.h"

namespace mpoolfs {

// A request is first tried on a thread that must not wait; a handler that would have to wait gives
// it back with hand_over(), and is called again on a thread that may.
//
// Threads: a context has one user at a time.
class RequestContext {
 public:
  RequestContext(const RequestContext&) = delete;
  RequestContext& operator=(const RequestContext&) = delete;

  // That of the request which the calling thread is answering.
  static RequestContext& current() noexcept { return *current_; }
  // Null on threads that answer none.
  static RequestContext* current_or_none() noexcept { return current_; }

  // Whether the handler may wait: for locks held during I/O, for the device, for other requests.
  bool may_wait() const noexcept { return may_wait_; }

  // Page-aligned memory for data: whole pages, as much as any request carries or asks for. Data of
  // a WRITE lies there.
  virtual mpool::ByteSpan payload() noexcept = 0;
  // !may_wait(): the ring of the calling thread.
  virtual mpool::IoRing& ring() noexcept = 0;

  // !may_wait(): gives the request back; the handler returns without an answer and without having
  // changed anything.
  void hand_over(fuse_req_t request) noexcept {
    handed_over_ = true;
    fuse_reply_none(request);
  }

  // may_wait(): the handler has made sure that it need not wait any more; the request is answered
  // again, from its beginning, on the thread that must not. Once only: tried_again() then.
  void try_again(fuse_req_t request) noexcept {
    try_again_ = true;
    fuse_reply_none(request);
  }
  bool tried_again() const noexcept { return tried_again_; }

  // What the answer to OPEN or CREATE is to say beside what libfuse knows: the backing file of
  // which the kernel serves the file; 0: none.
  void set_backing_id(std::uint32_t id) noexcept { backing_id_ = id; }

  // !may_wait(): device I/O that answers the request when it is done.
  DataJob& data_job() noexcept { return data_job_; }
  // !may_wait(): writes that are answered at once.
  virtual WriteBehind& write_behind() noexcept = 0;
  // !may_wait(): no other request of this thread waits for the device.
  virtual bool alone() const noexcept = 0;
  // Completes the operation on the thread that must not wait, from any other.
  virtual void post(mpool::RingOperation& operation) = 0;
  // !may_wait(): data of sequential reads.
  virtual ReadAhead& read_ahead() noexcept = 0;
  // Bracket the time in which an answer is to come by data_job().
  virtual void suspend() noexcept = 0;
  virtual void resume() noexcept = 0;

  // Makes `context` that of the calling thread.
  class Scope {
   public:
    explicit Scope(RequestContext& context) noexcept : before_(current_) { current_ = &context; }
    ~Scope() { current_ = before_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    RequestContext* const before_;
  };

 protected:
  RequestContext() : data_job_(*this) {}
  ~RequestContext() = default;

  bool may_wait_ = true;
  bool handed_over_ = false;
  bool try_again_ = false;
  bool tried_again_ = false;
  std::uint32_t backing_id_ = 0;

 private:
  inline static thread_local RequestContext* current_ = nullptr;

  DataJob data_job_;
};

}  // namespace mpoolfs

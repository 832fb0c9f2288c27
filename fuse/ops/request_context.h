// The environment of a request's handler while it answers, independent of the transport.
#pragma once

#include <cstdint>

#include "engine/base/blocking.h"
#include "engine/base/bytes.h"
#include "engine/io/io_ring.h"
#include "fuse/ops/data_job.h"
#include "fuse/ops/fuse_api.h"
#include "fuse/runtime/read_ahead.h"
#include "fuse/runtime/write_behind.h"

namespace mpoolfs {

// A request is first handled on a thread that must not block. A handler that would block gives the
// request back with defer_to_worker(), and is called again on a thread that may block.
//
// Threads: a context has one user at a time.
class RequestContext {
 public:
  RequestContext(const RequestContext&) = delete;
  RequestContext& operator=(const RequestContext&) = delete;

  // The context of the request that the calling thread answers.
  static RequestContext& current() noexcept { return *current_; }
  // Null on threads that answer no request.
  static RequestContext* current_or_none() noexcept { return current_; }

  // Whether the handler may block on locks held during I/O, on the device, or on other requests.
  bool can_block() const noexcept { return can_block_; }
  mpool::Blocking blocking() const noexcept {
    return can_block_ ? mpool::Blocking::allowed : mpool::Blocking::forbidden;
  }

  // Page-aligned memory for data: whole pages, enough for the largest request. The data of a WRITE
  // is there.
  virtual mpool::ByteSpan payload() noexcept = 0;
  // !can_block(): the ring of the calling thread.
  virtual mpool::IoRing& ring() noexcept = 0;

  // !can_block(): gives the request back; the handler returns without an answer and without having
  // changed any state.
  void defer_to_worker(fuse_req_t request) noexcept {
    deferred_ = true;
    fuse_reply_none(request);
  }

  // can_block(): the handler has removed the reason to block; the request is handled again, from
  // its beginning, on the thread that must not block. Only once: retried() then returns true.
  void retry(fuse_req_t request) noexcept {
    retry_ = true;
    fuse_reply_none(request);
  }
  bool retried() const noexcept { return retried_; }

  // Adds to the answer to OPEN or CREATE a field that libfuse does not know: the backing file from
  // which the kernel serves the file; 0: none.
  void set_backing_id(std::uint32_t id) noexcept { backing_id_ = id; }

  // !can_block(): device I/O that answers the request on completion.
  DataJob& data_job() noexcept { return data_job_; }
  // !can_block(): writes that are answered before completion.
  virtual WriteBehind& write_behind() noexcept = 0;
  // !can_block(): no other request of this thread waits for the device.
  virtual bool alone() const noexcept = 0;
  // Completes the operation on the thread that must not block. Called on any other thread.
  virtual void post(mpool::RingOperation& operation) = 0;
  // !can_block(): prefetched data of sequential reads.
  virtual ReadAhead& read_ahead() noexcept = 0;
  // Bracket the time during which data_job() is to answer.
  virtual void suspend() noexcept = 0;
  virtual void resume() noexcept = 0;

  // Makes `context` the current one of the calling thread.
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

  bool can_block_ = true;
  bool deferred_ = false;
  bool retry_ = false;
  bool retried_ = false;
  std::uint32_t backing_id_ = 0;

 private:
  inline static thread_local RequestContext* current_ = nullptr;

  DataJob data_job_;
};

}  // namespace mpoolfs

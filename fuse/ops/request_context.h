// The environment of a request's handler while it answers, independent of the transport.
#pragma once

#include <cstdint>

#include "engine/base/blocking.h"
#include "engine/base/bytes.h"
#include "engine/file/file_io.h"
#include "fuse/ops/data_replies.h"
#include "fuse/ops/fuse_api.h"

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
  // !can_block(): reads and writes on the ring of the calling thread.
  virtual mpool::FileIo& io() noexcept = 0;

  // !can_block(): gives the request back; the handler returns without an answer and without having
  // changed any state.
  void defer_to_worker(fuse_req_t request) noexcept {
    deferred_ = true;
    fuse_reply_none(request);
  }

  // Adds to the answer to OPEN or CREATE a field that libfuse does not know: the backing file from
  // which the kernel serves the file; 0: none.
  void set_backing_id(std::uint32_t id) noexcept { backing_id_ = id; }

  // !can_block(): the operation of a read or write through io(); it answers when it finishes.
  ReadReply& read_reply(fuse_req_t request) noexcept {
    read_reply_.prepare(request);
    return read_reply_;
  }
  WriteReply& write_reply(fuse_req_t request, std::size_t size) noexcept {
    write_reply_.prepare(request, size);
    return write_reply_;
  }
  // The handler returns without an answer: the operation gives it, then calls resume().
  void suspend() noexcept { suspended_ = true; }
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
  RequestContext() : read_reply_(*this), write_reply_(*this) {}
  ~RequestContext() = default;

  bool can_block_ = true;
  bool deferred_ = false;
  bool suspended_ = false;
  std::uint32_t backing_id_ = 0;

 private:
  inline static thread_local RequestContext* current_ = nullptr;

  ReadReply read_reply_;
  WriteReply write_reply_;
};

}  // namespace mpoolfs

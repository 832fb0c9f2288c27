// The memory and state of one request of the kernel, from its arrival to its answer.
#pragma once

#include <cstddef>
#include <cstdint>

#include <sys/uio.h>

#include "engine/base/bytes.h"
#include "engine/base/clock.h"
#include "engine/base/huge_memory.h"
#include "engine/io/io_ring.h"
#include "fuse/ops/request_context.h"
#include "fuse/runtime/reactor.h"
#include "fuse/runtime/worker_pool.h"

namespace mpoolfs {

class Dispatcher;

// Memory of `count` requests, mapped at once; the system allocates pages when they are touched.
//
// A request has one page, followed by the payload. The fixed part of a message ends where the
// payload begins, so that header, arguments and payload are contiguous while the payload is
// page-aligned. The payload's first kSmall bytes are in ordinary pages, so that a small request
// does not use a huge page; the rest is in huge pages of its own.
class RequestMemory {
 public:
  static constexpr std::size_t kSmall = 128u << 10;  // bytes

  // payload_size: bytes, whole pages, more than kSmall. Error ENOMEM.
  RequestMemory(unsigned count, std::size_t payload_size);

  // The page before the payload.
  mpool::ByteSpan head(unsigned number);
  mpool::ByteSpan payload(unsigned number);

  // Frees the part of a payload beyond kSmall, which becomes zeros.
  static void give_back(mpool::ByteSpan payload) noexcept;

 private:
  const std::size_t payload_size_;
  const std::size_t stride_;
  mpool::HugeMemory memory_;
};

// Threads: of the reactor, except answer(), which is called on the thread that answers; only one
// thread uses a request at a time.
class Request : public RequestContext, private WorkerPool::Job {
 public:
  mpool::ByteSpan payload() noexcept final { return payload_; }
  mpool::FileIo& io() noexcept final { return reactor_.io(); }
  void resume() noexcept final;

  // Header, arguments and payload; valid until the answer.
  mpool::ConstByteSpan message() const noexcept { return message_; }
  std::uint32_t opcode() const noexcept { return opcode_; }
  std::uint64_t unique() const noexcept { return unique_; }

  // Takes the answer: a fuse_out_header and its body. Returns the number of bytes, or -1 with
  // errno.
  virtual ssize_t answer(const iovec* parts, int count) noexcept = 0;

  // Answers the request of that number with an errno, without a handler.
  void refuse(std::uint64_t unique, int error) noexcept;

  // Frees pages that a large request touched and a small one will not.
  void trim() noexcept;

 protected:
  // `head` is the page before `payload`.
  Request(Dispatcher& dispatcher, Reactor& reactor, mpool::ByteSpan head, mpool::ByteSpan payload);
  virtual ~Request() = default;

  Reactor& reactor() noexcept { return reactor_; }
  mpool::ByteSpan head() noexcept { return head_; }

  // A message has arrived: it starts in the head and may continue in the payload.
  void arrived(mpool::ByteSpan message) noexcept;
  void note_touched(std::size_t bytes) noexcept {
    if (bytes > touched_) touched_ = bytes;
  }

  // The request is answered, or needs no answer: its memory is free. On the reactor's thread.
  virtual void completed() noexcept = 0;

 private:
  friend class Dispatcher;

  void done() noexcept {
    count(false);
    in_hand_ = false;
    completed();
  }
  // Counts the request, unless that was done.
  void count(bool failed) noexcept;
  mpool::Clock::Time present_time() noexcept;

  // Returns a request that a worker has answered to the reactor.
  struct Return final : mpool::RingOperation {
    explicit Return(Request& owner) : request(owner) {}
    void completed(std::int32_t) noexcept override { request.returned(); }
    Request& request;
  };

  void run() noexcept override;
  void returned() noexcept;

  Dispatcher& dispatcher_;
  Reactor& reactor_;
  const mpool::ByteSpan head_;
  const mpool::ByteSpan payload_;
  Return return_{*this};
  mpool::ByteSpan message_;
  std::uint32_t opcode_ = 0;
  std::uint64_t unique_ = 0;
  std::size_t touched_ = 0;  // bytes of the payload
  mpool::Clock::Time begun_{};
  bool counted_ = true;
  bool in_hand_ = false;  // between arrival and completed(): the payload is in use
};

}  // namespace mpoolfs

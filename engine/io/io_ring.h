// One io_uring: device I/O and all other events that its thread waits for.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include <liburing.h>

#include "engine/base/clock.h"
#include "engine/base/tunables.h"

namespace mpool {

// An operation in flight on a ring. Its owner must not move or destroy it before it completed.
class RingOperation {
 public:
  // Called on the ring's thread. `result`: as the kernel returns it, a negative errno for a
  // failure. May start further operations, this one included, and may destroy this object.
  virtual void completed(std::int32_t result) noexcept = 0;
  // Called, on any thread, for an operation that was handed to the ring's thread, which has ended.
  virtual void abandoned() noexcept {}

 protected:
  RingOperation() = default;
  RingOperation(const RingOperation&) = default;
  RingOperation& operator=(const RingOperation&) = default;
  ~RingOperation() = default;
};

// Threads: only the thread that called enable() may use a ring (the kernel is told so).
class IoRing {
 public:
  // Submission entries are 128 bytes long, as commands of FUSE need them. entries: capacity for
  // prepared submissions, a power of two. completions: operations that may be in flight without an
  // allocation in the kernel. Throws Error with the errno of io_uring_setup(2): ENOSYS or EPERM
  // where io_uring is disabled on the system, ENOMEM.
  IoRing(unsigned entries, unsigned completions, const Tunables::Submission& groups = {});
  ~IoRing();
  IoRing(const IoRing&) = delete;
  IoRing& operator=(const IoRing&) = delete;

  // Makes the calling thread the ring's thread. Called once, before all other calls.
  void enable();

  // Returns a cleared submission whose completion goes to `operation`. When the queue is full, its
  // content is submitted first. Throws Error when the kernel accepts nothing. `first`: the
  // completion is run before all other completions present, because it brings work for the device.
  io_uring_sqe& prepare(RingOperation& operation, bool first = false);
  // Completes `operation` with `result` in a later run_completions(), without the kernel.
  void post(RingOperation& operation, std::int32_t result);

  // The number of prepared submissions that are not submitted yet.
  unsigned prepared() const noexcept { return io_uring_sq_ready(&ring_); }
  // Declares whether the following device requests are writes or reads; the batch size depends on
  // it.
  void set_batch_kind(bool write) noexcept { writing_ = write; }
  // Submit after the current completion instead of batching: the kernel needs long for the prepared
  // operation, and a caller waits for it.
  void submit_soon() noexcept { submit_soon_ = true; }
  // Submits the prepared operations to the kernel. Throws Error when the kernel refuses; retries on
  // EINTR and on a busy kernel.
  void submit();
  // Lets the kernel post completions that are ready; run_completions() then sees them.
  void poll();
  // Submits, then waits for a completion, at most `timeout_ms` milliseconds unless negative.
  // Returns true if run_completions() has work; a signal may end the wait early.
  bool submit_and_wait(int timeout_ms = -1);
  // Calls completed() of completed operations, and submits meanwhile the operations that they
  // prepare. Returns their number. Bounded: more may be left.
  unsigned run_completions();

  // The time, for operations that begin and end in completions; reading the clock takes a part of
  // what a small read does. All calls are for the same clock.
  // recent_time(): read since the thread came from the kernel, by an earlier completion if there
  // was one. Completions that were present together have waited for each other, too.
  Clock::Time recent_time(const Clock& clock) { return time_ ? *time_ : read_time(clock); }
  // step_time(): read in the present completion.
  Clock::Time step_time(const Clock& clock) { return time_is_of_step_ ? *time_ : read_time(clock); }
  // read_time(): read now.
  Clock::Time read_time(const Clock& clock) {
    time_is_of_step_ = true;
    return time_.emplace(clock.now());
  }

 private:
  struct Completion {
    RingOperation* operation;
    std::int32_t result;
    bool posted;  // by post(), not by the kernel
  };

  void forget_time() noexcept {
    time_.reset();
    time_is_of_step_ = false;
  }
  unsigned run_first();
  void complete(const Completion& completion);

  const Tunables::Submission groups_;
  io_uring ring_{};
  std::deque<Completion> waiting_;  // posted, or taken from the ring; in order
  bool submit_soon_ = false;
  bool writing_ = false;
  std::optional<Clock::Time> time_;
  bool time_is_of_step_ = false;
};

}  // namespace mpool

// One io_uring: device I/O and whatever else the thread that owns it waits for.
#pragma once

#include <cstdint>
#include <deque>

#include <liburing.h>

namespace mpool {

// Something in flight on a ring. It belongs to whoever started it and must stay where it is until
// it completed.
class RingOperation {
 public:
  // On the ring's thread. `result`: as the kernel has it, a negative errno for a failure. It may
  // start further operations, itself among them, and destroy itself.
  virtual void completed(std::int32_t result) noexcept = 0;

 protected:
  RingOperation() = default;
  RingOperation(const RingOperation&) = default;
  RingOperation& operator=(const RingOperation&) = default;
  ~RingOperation() = default;
};

// Threads: only the thread that called enable() may use a ring (the kernel is told so).
class IoRing {
 public:
  // Submission entries are 128 bytes long, as commands of FUSE need them. entries: prepared
  // submissions that fit, a power of two; completions: how many operations may be in flight without
  // the kernel having to allocate memory. Error with the errno of io_uring_setup(2): ENOSYS or
  // EPERM where the system has io_uring switched off, ENOMEM.
  IoRing(unsigned entries, unsigned completions);
  ~IoRing();
  IoRing(const IoRing&) = delete;
  IoRing& operator=(const IoRing&) = delete;

  // Makes the calling thread the ring's thread; once, before everything else.
  void enable();

  // A cleared submission whose completion goes to `operation`. When the queue is full, what it
  // holds is submitted first. Throws Error when the kernel takes nothing. `first`: the completion
  // has its turn before all others that are there: it brings work for the device.
  io_uring_sqe& prepare(RingOperation& operation, bool first = false);
  // Completes `operation` with `result` in a coming run_completions(), without the kernel.
  void post(RingOperation& operation, std::int32_t result);

  // Prepared and not submitted yet.
  unsigned prepared() const noexcept { return io_uring_sq_ready(&ring_); }
  // What the device is asked for from now on are writes, or reads.
  void note_direction(bool write) noexcept { writing_ = write; }
  // What is prepared now is not to wait for more: it takes the kernel long, and somebody waits for
  // it.
  void hurry() noexcept { hurry_ = true; }
  // Gives the kernel what was prepared. Throws Error when the kernel refuses; EINTR and a busy
  // kernel are repeated.
  void submit();
  // Lets the kernel finish what is ready; then run_completions() sees it.
  void poll();
  // Submits and waits for a completion, at most `timeout_ms` milliseconds when that is not
  // negative. Whether there is something for run_completions(); a signal may end the wait early.
  bool submit_and_wait(int timeout_ms = -1);
  // Calls completed() of operations that have completed, submitting meanwhile what they prepare;
  // returns how many they were. A bounded number: there may be more.
  unsigned run_completions();

 private:
  struct Completion {
    RingOperation* operation;
    std::int32_t result;
    bool posted;  // by post(), not by the kernel
  };

  unsigned run_first();
  void complete(const Completion& completion);

  io_uring ring_{};
  std::deque<Completion> waiting_;  // posted, or taken from the ring; in their order
  bool hurry_ = false;
  bool writing_ = false;
};

}  // namespace mpool

#include "engine/io/io_ring.h"

#include <bit>
#include <cerrno>
#include <cstring>

#include <sched.h>

#include "engine/base/error.h"

namespace mpool {

namespace {

constexpr std::size_t kSubmissionSize = 128;
// Maximum number of completions before control returns to the caller.
constexpr unsigned kRunLimit = 256;
// A bit in the user data of a submission, besides the address of the operation.
constexpr std::uint64_t kFirst = 1;
static_assert(alignof(RingOperation) > kFirst);
constexpr unsigned kUsualFlags = IORING_SETUP_SQE128 | IORING_SETUP_CQSIZE |
                                 IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER;

int set_up(unsigned entries, unsigned completions, unsigned flags, io_uring& ring) {
  io_uring_params parameters{};
  parameters.flags = flags;
  parameters.cq_entries = completions;
  return io_uring_queue_init_params(entries, &ring, &parameters);
}

// Transient results of the kernel that are not failures.
bool is_passing(int result) {
  return result == -EINTR || result == -EAGAIN || result == -EBUSY || result == -ETIME;
}

void raise_if_failed(int result, const char* operation) {
  if (result < 0 && !is_passing(result)) {
    raise(-result, "io_uring", "{}: {}", operation, errno_text(-result));
  }
}

}  // namespace

IoRing::IoRing(unsigned entries, unsigned completions, const Tunables::Submission& groups)
    : groups_(groups) {
  // Completions are processed when the thread asks for them, not at each interrupt of the device.
  int result = set_up(entries, completions, kUsualFlags | IORING_SETUP_DEFER_TASKRUN, ring_);
  if (result == -EINVAL) {  // before Linux 6.1
    result = set_up(entries, completions, kUsualFlags | IORING_SETUP_COOP_TASKRUN, ring_);
  }
  raise_if_failed(result, "a ring cannot be made");
}

IoRing::~IoRing() {
  io_uring_queue_exit(&ring_);
}

void IoRing::enable() {
  raise_if_failed(io_uring_enable_rings(&ring_), "a ring cannot be enabled");
}

io_uring_sqe& IoRing::prepare(RingOperation& operation, bool first) {
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  while (entry == nullptr) {
    submit();
    entry = io_uring_get_sqe(&ring_);
  }
  std::memset(static_cast<void*>(entry), 0, kSubmissionSize);
  io_uring_sqe_set_data64(entry, std::bit_cast<std::uintptr_t>(&operation) | (first ? kFirst : 0));
  return *entry;
}

void IoRing::post(RingOperation& operation, std::int32_t result) {
  waiting_.push_back({.operation = &operation, .result = result, .posted = true});
}

void IoRing::submit() {
  forget_time();
  if (prepared() > 0) raise_if_failed(io_uring_submit(&ring_), "submitting failed");
}

void IoRing::poll() {
  forget_time();
  raise_if_failed(io_uring_submit_and_get_events(&ring_), "polling failed");
}

bool IoRing::submit_and_wait(int timeout_ms) {
  if (!waiting_.empty()) {
    submit();
  } else if (timeout_ms < 0) {
    raise_if_failed(io_uring_submit_and_wait(&ring_, 1), "waiting failed");
  } else {
    __kernel_timespec timeout{.tv_sec = timeout_ms / 1000,
                              .tv_nsec = static_cast<long long>(timeout_ms % 1000) * 1'000'000};
    io_uring_cqe* completion = nullptr;
    raise_if_failed(io_uring_submit_and_wait_timeout(&ring_, &completion, 1, &timeout, nullptr),
                    "waiting failed");
  }
  return !waiting_.empty() || io_uring_cq_ready(&ring_) > 0;
}

void IoRing::complete(const Completion& completion) {
  time_is_of_step_ = false;
  completion.operation->completed(completion.result);
  const unsigned group = completion.posted ? groups_.posted
                         : writing_        ? groups_.writes
                                           : groups_.reads;
  if (prepared() < group && !submit_soon_) return;
  poll();
  submit_soon_ = false;
  // Lets a reader that was woken on this CPU continue with its next requests.
  if (!completion.posted) ::sched_yield();
}

// Empties the ring: runs the completions with priority, queues the rest.
unsigned IoRing::run_first() {
  unsigned count = 0;
  io_uring_cqe* entry = nullptr;
  while (io_uring_cq_ready(&ring_) > 0 && io_uring_peek_cqe(&ring_, &entry) == 0) {
    const std::uint64_t data = io_uring_cqe_get_data64(entry);
    const Completion completion{
        .operation = std::bit_cast<RingOperation*>(static_cast<std::uintptr_t>(data & ~kFirst)),
        .result = entry->res,
        .posted = false};
    io_uring_cqe_seen(&ring_, entry);
    if ((data & kFirst) != 0) {
      complete(completion);
      ++count;
    } else {
      waiting_.push_back(completion);
    }
  }
  return count;
}

unsigned IoRing::run_completions() {
  forget_time();
  unsigned count = run_first();
  while (!waiting_.empty() && count < kRunLimit) {
    const Completion completion = waiting_.front();
    waiting_.pop_front();
    complete(completion);
    count += 1 + run_first();
  }
  return count;
}

}  // namespace mpool

#include "fuse/transport/request.h"

#include <cassert>
#include <cstring>
#include <utility>

#include <linux/fuse.h>
#include <sys/mman.h>

#include "engine/base/aligned_buffer.h"
#include "fuse/transport/dispatcher.h"

namespace mpoolfs {

namespace {

using mpool::HugeMemory;
using mpool::kPageSize;

// Bytes from the beginning of a request's memory to its payload, which continues in the next huge
// page.
constexpr std::size_t kPayloadAt = HugeMemory::kHugePageSize - RequestMemory::kSmall;
constexpr std::size_t kHeadAt = kPayloadAt - kPageSize;

// Bytes of the huge pages of a payload.
std::size_t huge_part(std::size_t payload_size) {
  return mpool::round_up(payload_size - RequestMemory::kSmall, HugeMemory::kHugePageSize);
}

}  // namespace

RequestMemory::RequestMemory(unsigned count, std::size_t payload_size)
    : payload_size_(payload_size),
      stride_(HugeMemory::kHugePageSize + huge_part(payload_size)),
      memory_(count * stride_) {
  for (unsigned number = 0; number < count; ++number) {
    // Kernels without huge pages refuse this; ordinary pages are then used.
    ::madvise(memory_.span(number * stride_, HugeMemory::kHugePageSize).data(),
              HugeMemory::kHugePageSize, MADV_NOHUGEPAGE);
  }
}

mpool::ByteSpan RequestMemory::head(unsigned number) {
  return memory_.span(number * stride_ + kHeadAt, kPageSize);
}

mpool::ByteSpan RequestMemory::payload(unsigned number) {
  return memory_.span(number * stride_ + kPayloadAt, payload_size_);
}

void RequestMemory::give_back(mpool::ByteSpan payload) noexcept {
  ::madvise(payload.data() + kSmall, huge_part(payload.size()), MADV_DONTNEED);
}

Request::Request(Dispatcher& dispatcher, Reactor& reactor, mpool::ByteSpan head,
                 mpool::ByteSpan payload)
    : dispatcher_(dispatcher), reactor_(reactor), head_(head), payload_(payload) {
  assert(head.data() + head.size() == payload.data());
}

void Request::arrived(mpool::ByteSpan message) noexcept {
  assert(message.size() >= sizeof(fuse_in_header) && message.data() >= head_.data());
  message_ = message;
  in_hand_ = true;
  backing_id_ = 0;
  reactor_.note_copied(message.size());
  if (message.data() + message.size() > payload_.data()) {
    note_touched(static_cast<std::size_t>(message.data() + message.size() - payload_.data()));
  }
  fuse_in_header header{};
  std::memcpy(&header, message_.data(), sizeof header);
  opcode_ = header.opcode;
  unique_ = header.unique;
  dispatcher_.metrics_.begin();
  begun_ = reactor_.ring().recent_time(dispatcher_.clock_);
  counted_ = false;
  dispatcher_.handle(*this);
}

void Request::count(bool failed) noexcept {
  if (std::exchange(counted_, true)) return;
  dispatcher_.metrics_.end(opcode_, present_time() - begun_, failed);
}

// A worker must not touch the ring. The end of a device transfer has read the time just before.
mpool::Clock::Time Request::present_time() noexcept {
  if (can_block_) return dispatcher_.clock_.now();
  mpool::IoRing& ring = reactor_.ring();
  return suspended_ ? ring.step_time(dispatcher_.clock_) : ring.read_time(dispatcher_.clock_);
}

void Request::resume() noexcept {
  suspended_ = false;
  done();
}

void Request::run() noexcept {
  dispatcher_.process(*this, true);
  reactor_.post(return_, 0);
}

void Request::returned() noexcept {
  reactor_.work_ended();
  done();
}

void Request::refuse(std::uint64_t unique, int error) noexcept {
  count(true);
  fuse_out_header refusal{.len = sizeof refusal, .error = -error, .unique = unique};
  const iovec part{.iov_base = &refusal, .iov_len = sizeof refusal};
  answer(&part, 1);
}

void Request::trim() noexcept {
  if (in_hand_ || touched_ <= RequestMemory::kSmall) return;
  RequestMemory::give_back(payload_);
  touched_ = 0;
}

}  // namespace mpoolfs

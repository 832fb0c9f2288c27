#include "fuse/transport/request.h"

#include <cassert>
#include <cerrno>
#include <cstring>

#include <linux/fuse.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>

#include "engine/base/aligned_buffer.h"
#include "engine/base/error.h"
#include "fuse/transport/dispatcher.h"

namespace mpoolfs {

namespace {

// Bytes of a payload that stay touched.
constexpr std::size_t kKeptPayload = 64u << 10;

}  // namespace

RequestMemory::RequestMemory(unsigned count, std::size_t payload_size)
    : stride_(mpool::kPageSize + payload_size), size_(stride_ * count), memory_(nullptr) {
  void* const memory = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    mpool::raise_system(errno, "memory for requests", fmt::format("{} bytes", size_));
  }
  memory_ = static_cast<std::byte*>(memory);
  // A small request must not cost a huge page. What the kernel says to it does not matter.
  ::madvise(memory, size_, MADV_NOHUGEPAGE);
}

RequestMemory::~RequestMemory() {
  ::munmap(memory_, size_);
}

mpool::ByteSpan RequestMemory::head(unsigned number) {
  return {memory_ + number * stride_, mpool::kPageSize};
}

mpool::ByteSpan RequestMemory::payload(unsigned number) {
  return {memory_ + number * stride_ + mpool::kPageSize, stride_ - mpool::kPageSize};
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
  tried_again_ = false;
  backing_id_ = 0;
  reactor_.note_copied(message.size());
  if (message.data() + message.size() > payload_.data()) {
    note_touched(static_cast<std::size_t>(message.data() + message.size() - payload_.data()));
  }
  fuse_in_header header{};
  std::memcpy(&header, message_.data(), sizeof header);
  opcode_ = header.opcode;
  unique_ = header.unique;
  dispatcher_.handle(*this);
}

void Request::suspend() noexcept {
  suspended_ = true;
  reactor_.transfer_started();
}

void Request::resume() noexcept {
  suspended_ = false;
  reactor_.transfer_ended();
  done();
}

void Request::run() noexcept {
  dispatcher_.process(*this, true);
  reactor_.post(return_, 0);
}

void Request::returned() noexcept {
  if (!try_again_) return done();
  try_again_ = false;
  tried_again_ = true;
  dispatcher_.handle(*this);
}

void Request::refuse(std::uint64_t unique, int error) noexcept {
  fuse_out_header refusal{.len = sizeof refusal, .error = -error, .unique = unique};
  const iovec part{.iov_base = &refusal, .iov_len = sizeof refusal};
  answer(&part, 1);
}

void Request::trim() noexcept {
  if (in_hand_ || touched_ <= kKeptPayload) return;
  ::madvise(payload_.data() + kKeptPayload, payload_.size() - kKeptPayload, MADV_DONTNEED);
  touched_ = 0;
}

}  // namespace mpoolfs

// Page-aligned memory for the payload of the request that a thread is working on.
#pragma once

#include <cstdint>
#include <cstring>

#include "engine/base/aligned_buffer.h"

namespace mpoolfs {

// At least `size` bytes aligned for direct I/O, owned by the calling thread and valid until its
// next call. Throws std::bad_alloc.
inline mpool::ByteSpan transfer_buffer(std::size_t size) {
  constexpr std::size_t kUsual = 1u << 20;
  thread_local mpool::AlignedBuffer buffer;
  if (buffer.size() < size) {
    buffer = mpool::AlignedBuffer();
    buffer = mpool::AlignedBuffer(size < kUsual ? kUsual : size);
  }
  return buffer.span(0, size);
}

// The same bytes, in memory that the device can take without a further copy.
inline mpool::ConstByteSpan aligned_payload(mpool::ConstByteSpan payload) {
  const auto address = reinterpret_cast<std::uintptr_t>(payload.data());
  if (payload.size() < mpool::kPageSize || mpool::is_aligned(address, mpool::kPageSize)) {
    return payload;
  }
  const mpool::ByteSpan buffer = transfer_buffer(payload.size());
  std::memcpy(buffer.data(), payload.data(), payload.size());
  return buffer;
}

}  // namespace mpoolfs

// Memory for direct I/O.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "engine/base/bytes.h"

namespace mpool {

// A page of the on-media format: 4096 bytes whatever the machine's page size. Every device I/O of
// the engine is aligned to it, in offset, length and (to avoid a copy) memory.
inline constexpr std::size_t kPageSize = 4096;

// Owns `size` bytes aligned to kPageSize; contents undefined unless zeroed. Movable, not copyable.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t size) : size_(size) {
    if (size == 0) return;
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(kPageSize, round_up(size, kPageSize))));
    if (data_ == nullptr) throw std::bad_alloc();
  }
  static AlignedBuffer zeroed(std::size_t size) {
    AlignedBuffer buffer(size);
    if (size != 0) std::memset(buffer.data(), 0, size);
    return buffer;
  }

  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  ByteSpan span() { return {data_.get(), size_}; }
  ConstByteSpan span() const { return {data_.get(), size_}; }
  ByteSpan span(std::size_t offset, std::size_t length) { return span().subspan(offset, length); }
  ConstByteSpan span(std::size_t offset, std::size_t length) const {
    return span().subspan(offset, length);
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte[], Free> data_;
  std::size_t size_ = 0;
};

}  // namespace mpool

// Memory for large device I/O.
#pragma once

#include <cstddef>

#include "engine/base/bytes.h"

namespace mpool {

// Zeroed memory in huge pages, as far as the system has them and gives them to who asks
// (/sys/kernel/mm/transparent_hugepage/enabled is not "never"); in ordinary pages otherwise.
//
// To a device, memory is as many pieces as it has pages that do not happen to follow one another: a
// MiB is 256, more than one request of many devices may have, and each costs time on the way.
//
// A page is only there from when it was touched first. Movable, not copyable.
class HugeMemory {
 public:
  static constexpr std::size_t kHugePageSize = 2u << 20;  // bytes

  HugeMemory() = default;
  // size: bytes; 0: none. It begins at a boundary of kHugePageSize. Error ENOMEM.
  explicit HugeMemory(std::size_t size);
  ~HugeMemory();
  HugeMemory(HugeMemory&& other) noexcept;
  HugeMemory& operator=(HugeMemory&& other) noexcept;

  bool empty() const { return size_ == 0; }
  ByteSpan span() { return {data_, size_}; }
  ByteSpan span(std::size_t offset, std::size_t length) { return span().subspan(offset, length); }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace mpool

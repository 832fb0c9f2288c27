// Memory for large device I/O.
#pragma once

#include <cstddef>

#include "engine/base/bytes.h"

namespace mpool {

// Zeroed memory in huge pages as far as the system provides them
// (/sys/kernel/mm/transparent_hugepage/enabled is not "never"); in ordinary pages otherwise.
//
// A device transfer has one segment for each run of physically contiguous pages. One MiB of
// ordinary pages can take 256 segments; many devices accept fewer per request, and each segment
// costs time.
//
// A page is allocated when it is first touched. Movable, not copyable.
class HugeMemory {
 public:
  static constexpr std::size_t kHugePageSize = 2u << 20;  // bytes

  HugeMemory() = default;
  // size: bytes; 0: none. Aligned to kHugePageSize. Throws Error ENOMEM.
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

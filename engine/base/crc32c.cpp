#include "engine/base/crc32c.h"

#include <algorithm>

#include <isa-l/crc.h>

namespace mpool {

std::uint32_t crc32c(ConstByteSpan data) {
  // The library takes an int length and a pointer to non-const, through which it only reads.
  constexpr std::size_t kMaxStep = 1u << 30;
  std::uint32_t crc = ~0u;
  while (!data.empty()) {
    const std::size_t step = std::min(data.size(), kMaxStep);
    auto* bytes = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(data.data()));
    crc = crc32_iscsi(bytes, static_cast<int>(step), crc);
    data = data.subspan(step);
  }
  return ~crc;
}

}  // namespace mpool

// Reads and changes bytes of media in memory beneath the engine.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "engine/base/aligned_buffer.h"
#include "engine/io/simulated_device.h"

namespace mpool::test {

// The first position of `bytes` at or after byte `from`, if they lie inside one page.
inline std::optional<std::uint64_t> find_bytes(const SimulatedMedia& media, ConstByteSpan bytes,
                                               std::uint64_t from = 0) {
  for (std::uint64_t at = round_down(from, kPageSize); at < media.size(); at += kPageSize) {
    const SimulatedMedia::SharedPage page = media.page(at);
    if (page == nullptr) continue;
    auto begin = page->begin();
    if (at < from) begin += static_cast<std::ptrdiff_t>(from - at);
    const auto found = std::search(begin, page->end(), bytes.begin(), bytes.end());
    if (found != page->end()) return at + static_cast<std::uint64_t>(found - page->begin());
  }
  return std::nullopt;
}

// `bytes` lie inside one page.
inline void overwrite(SimulatedMedia& media, std::uint64_t offset, ConstByteSpan bytes) {
  const std::uint64_t at = round_down(offset, kPageSize);
  AlignedBuffer page(kPageSize);
  media.read(at, page.span());
  std::ranges::copy(bytes, page.data() + (offset - at));
  media.write(at, page.span());
}

// Inverts the bits of `mask` in one byte.
inline void flip(SimulatedMedia& media, std::uint64_t offset, unsigned mask = 0xff) {
  AlignedBuffer page(kPageSize);
  const std::uint64_t at = round_down(offset, kPageSize);
  media.read(at, page.span());
  const std::byte changed = page.span()[offset - at] ^ static_cast<std::byte>(mask);
  overwrite(media, offset, ConstByteSpan(&changed, 1));
}

}  // namespace mpool::test

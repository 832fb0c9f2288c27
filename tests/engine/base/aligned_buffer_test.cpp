#include "engine/base/aligned_buffer.h"

#include <algorithm>
#include <utility>

#include <gtest/gtest.h>

namespace mpool {
namespace {

TEST(AlignedBuffer, IsAlignedAndAsLargeAsAsked) {
  AlignedBuffer buffer(5000);
  EXPECT_EQ(buffer.size(), 5000u);
  EXPECT_TRUE(is_aligned(reinterpret_cast<std::uintptr_t>(buffer.data()), kPageSize));
  EXPECT_EQ(buffer.span(4096, 904).size(), 904u);
}

TEST(AlignedBuffer, ZeroedIsZero) {
  const AlignedBuffer buffer = AlignedBuffer::zeroed(3 * kPageSize);
  EXPECT_TRUE(
      std::ranges::all_of(buffer.span(), [](std::byte byte) { return byte == std::byte{0}; }));
}

TEST(AlignedBuffer, EmptyHasNoMemory) {
  const AlignedBuffer buffer(0);
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(buffer.data(), nullptr);
  EXPECT_TRUE(AlignedBuffer().empty());
}

TEST(AlignedBuffer, MovesItsMemory) {
  AlignedBuffer first(kPageSize);
  const std::byte* memory = first.data();
  const AlignedBuffer second = std::move(first);
  EXPECT_EQ(second.data(), memory);
}

}  // namespace
}  // namespace mpool

#include <cstdint>
#include <cstring>

#include <gtest/gtest.h>

#include "engine/base/aligned_buffer.h"
#include "engine/base/huge_memory.h"
#include "fuse/transport/request.h"

namespace mpoolfs {
namespace {

using mpool::HugeMemory;
using mpool::kPageSize;

constexpr unsigned kCount = 3;
constexpr std::size_t kSize = 1u << 20;

TEST(RequestMemory, HeadAndPayloadAreOnePiece) {
  RequestMemory memory(kCount, kSize);
  for (unsigned number = 0; number < kCount; ++number) {
    const mpool::ByteSpan head = memory.head(number);
    const mpool::ByteSpan payload = memory.payload(number);
    EXPECT_EQ(head.size(), kPageSize);
    EXPECT_EQ(payload.size(), kSize);
    EXPECT_EQ(head.data() + head.size(), payload.data());
  }
}

TEST(RequestMemory, WhatIsLargeIsInHugePagesOfItsOwn) {
  RequestMemory memory(kCount, kSize);
  const auto huge_page_of = [](const std::byte& byte) {
    return reinterpret_cast<std::uintptr_t>(&byte) / HugeMemory::kHugePageSize;
  };
  std::uintptr_t before = 0;
  for (unsigned number = 0; number < kCount; ++number) {
    const mpool::ByteSpan payload = memory.payload(number);
    const std::uintptr_t small = huge_page_of(payload[RequestMemory::kSmall - 1]);
    EXPECT_GT(small, before);
    EXPECT_EQ(huge_page_of(memory.head(number).front()), small);
    EXPECT_EQ(huge_page_of(payload[RequestMemory::kSmall]), small + 1);
    EXPECT_EQ(huge_page_of(payload.back()), small + 1);
    before = small + 1;
  }
}

TEST(RequestMemory, GivesBackWhatIsLargeOfOne) {
  RequestMemory memory(kCount, kSize);
  for (unsigned number = 0; number < kCount; ++number) {
    std::memset(memory.head(number).data(), 1, kPageSize);
    std::memset(memory.payload(number).data(), 1, kSize);
  }
  RequestMemory::give_back(memory.payload(1));
  for (unsigned number = 0; number < kCount; ++number) {
    const mpool::ByteSpan payload = memory.payload(number);
    EXPECT_EQ(memory.head(number).back(), std::byte{1});
    EXPECT_EQ(payload[RequestMemory::kSmall - 1], std::byte{1});
    const std::byte expected{static_cast<unsigned char>(number == 1 ? 0 : 1)};
    EXPECT_EQ(payload[RequestMemory::kSmall], expected);
    EXPECT_EQ(payload.back(), expected);
  }
}

}  // namespace
}  // namespace mpoolfs

#include "engine/base/huge_memory.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include <gtest/gtest.h>

#include "tests/support/error_of.h"

namespace mpool {
namespace {

TEST(HugeMemory, IsWholeHugePagesOfZeros) {
  HugeMemory memory(HugeMemory::kHugePageSize + 1);
  EXPECT_FALSE(memory.empty());
  EXPECT_EQ(memory.span().size(), 2 * HugeMemory::kHugePageSize);
  const auto address = reinterpret_cast<std::uintptr_t>(memory.span().data());
  EXPECT_TRUE(is_aligned(address, HugeMemory::kHugePageSize));
  EXPECT_TRUE(
      std::ranges::all_of(memory.span(), [](std::byte byte) { return byte == std::byte{}; }));
  std::memset(memory.span().data(), 1, memory.span().size());
}

TEST(HugeMemory, MovesAndGivesBack) {
  HugeMemory first(1);
  const std::byte* const data = first.span().data();
  HugeMemory second = std::move(first);
  EXPECT_EQ(second.span().data(), data);
  HugeMemory third;
  EXPECT_TRUE(third.empty());
  third = std::move(second);
  EXPECT_EQ(third.span(HugeMemory::kHugePageSize - 8, 8).data(),
            data + HugeMemory::kHugePageSize - 8);
  third = {};
  EXPECT_TRUE(third.empty());
}

TEST(HugeMemory, ZeroIsNone) {
  EXPECT_TRUE(HugeMemory(0).empty());
}

TEST(HugeMemory, MoreThanThereIs) {
  EXPECT_EQ(test::error_of([] { HugeMemory memory(std::size_t{1} << 60); }), ENOMEM);
}

}  // namespace
}  // namespace mpool

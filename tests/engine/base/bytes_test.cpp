#include "engine/base/bytes.h"

#include <array>

#include <gtest/gtest.h>

namespace mpool {
namespace {

TEST(Bytes, StoresLittleEndianAtUnalignedOffsets) {
  std::array<std::byte, 16> bytes{};
  store_le<std::uint32_t>(bytes, 3, 0x01020304u);
  EXPECT_EQ(bytes[2], std::byte{0});
  EXPECT_EQ(bytes[3], std::byte{4});
  EXPECT_EQ(bytes[6], std::byte{1});
  EXPECT_EQ(bytes[7], std::byte{0});
  EXPECT_EQ(load_le<std::uint32_t>(bytes, 3), 0x01020304u);
  EXPECT_EQ(load_le<std::uint16_t>(bytes, 3), 0x0304u);
}

TEST(Bytes, RoundsToPowersOfTwo) {
  EXPECT_EQ(round_up(0, 4096), 0u);
  EXPECT_EQ(round_up(1, 4096), 4096u);
  EXPECT_EQ(round_up(4096, 4096), 4096u);
  EXPECT_EQ(round_down(4095, 4096), 0u);
  EXPECT_TRUE(is_aligned(8192, 4096));
  EXPECT_FALSE(is_aligned(8193, 4096));
}

TEST(Bytes, DividesUpWithoutOverflow) {
  EXPECT_EQ(ceil_div(0, 7), 0u);
  EXPECT_EQ(ceil_div(7, 7), 1u);
  EXPECT_EQ(ceil_div(8, 7), 2u);
  EXPECT_EQ(ceil_div(~0ull, 2), 1ull << 63);
}

}  // namespace
}  // namespace mpool

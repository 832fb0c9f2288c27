#include "engine/base/crc32c.h"

#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace mpool {
namespace {

std::uint32_t of(std::string_view text) {
  return crc32c(as_bytes(text.data(), text.size()));
}

// The check value of the CRC catalogue and the examples of RFC 3720, B.4.
TEST(Crc32c, KnownValues) {
  EXPECT_EQ(of("123456789"), 0xe3069283u);
  EXPECT_EQ(of(""), 0u);
  EXPECT_EQ(crc32c(std::vector<std::byte>(32)), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::vector<std::byte>(32, std::byte{0xff})), 0x62a8ab43u);
}

TEST(Crc32c, SeesEveryBit) {
  std::vector<std::byte> bytes(100, std::byte{0x5a});
  const std::uint32_t before = crc32c(bytes);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_NE(crc32c(bytes), before) << "bit " << bit;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

}  // namespace
}  // namespace mpool

#include "engine/base/size.h"

#include <gtest/gtest.h>

namespace mpool {
namespace {

TEST(Size, ParsesUnits) {
  EXPECT_EQ(parse_size("0"), 0u);
  EXPECT_EQ(parse_size("4096"), 4096u);
  EXPECT_EQ(parse_size("4096B"), 4096u);
  EXPECT_EQ(parse_size("1K"), 1024u);
  EXPECT_EQ(parse_size("32m"), 32ull << 20);
  EXPECT_EQ(parse_size("32MiB"), 32ull << 20);
  EXPECT_EQ(parse_size("4G"), 4ull << 30);
  EXPECT_EQ(parse_size("2T"), 2ull << 40);
  EXPECT_EQ(parse_size("15E"), 15ull << 60);
}

TEST(Size, RefusesEverythingElse) {
  for (const char* text : {"", "M", "-1", "+1", " 1", "1 ", "1.5G", "1X", "1MB", "1Mi", "0x10",
                           "1MiBs", "16E", "18446744073709551616", "99999999999999999999G"}) {
    EXPECT_EQ(parse_size(text), std::nullopt) << text;
  }
}

TEST(Size, FormatsWithAtMostOneDecimal) {
  EXPECT_EQ(format_size(0), "0 B");
  EXPECT_EQ(format_size(1023), "1023 B");
  EXPECT_EQ(format_size(1024), "1 KiB");
  EXPECT_EQ(format_size(1536), "1.5 KiB");
  EXPECT_EQ(format_size(32ull << 20), "32 MiB");
  EXPECT_EQ(format_size((3ull << 30) / 2), "1.5 GiB");
  EXPECT_EQ(format_size(~0ull), "16 EiB");
}

}  // namespace
}  // namespace mpool

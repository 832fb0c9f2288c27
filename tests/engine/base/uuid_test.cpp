#include "engine/base/uuid.h"

#include <array>

#include <gtest/gtest.h>

namespace mpool {
namespace {

constexpr const char* kText = "5c96e130-a0da-3349-8048-8a9903265577";

TEST(Uuid, BytesAreInPrintOrder) {
  const auto uuid = Uuid::parse(kText);
  ASSERT_TRUE(uuid.has_value());
  EXPECT_EQ(uuid->bytes[0], std::byte{0x5c});
  EXPECT_EQ(uuid->bytes[15], std::byte{0x77});
  EXPECT_EQ(uuid->to_string(), kText);
}

TEST(Uuid, ParsesEitherCaseAndNothingElse) {
  EXPECT_EQ(Uuid::parse("5C96E130-A0DA-3349-8048-8A9903265577"), Uuid::parse(kText));
  for (const char* text :
       {"", "5c96e130", "5c96e130-a0da-3349-8048-8a99032655770",
        "5c96e130-a0da-3349-8048-8a990326557g", "{5c96e130-a0da-3349-8048-8a9903265577}"}) {
    EXPECT_EQ(Uuid::parse(text), std::nullopt) << text;
  }
}

TEST(Uuid, StoresAndLoadsAtAnyOffset) {
  std::array<std::byte, 20> bytes{};
  const Uuid uuid = Uuid::random();
  uuid.store(bytes, 3);
  EXPECT_EQ(Uuid::load(bytes, 3), uuid);
  EXPECT_EQ(bytes[2], std::byte{0});
  EXPECT_EQ(bytes[19], std::byte{0});
}

TEST(Uuid, RandomOnesDiffer) {
  EXPECT_NE(Uuid::random(), Uuid::random());
  EXPECT_FALSE(Uuid::random().is_nil());
  EXPECT_TRUE(Uuid{}.is_nil());
}

}  // namespace
}  // namespace mpool

#include "engine/format/object_id.h"

#include <gtest/gtest.h>

namespace mpool {
namespace {

// Ids as the reference pools' manifests show them.
TEST(ObjectId, Parts) {
  const ObjectId id{0x104205};
  EXPECT_EQ(id.uniquifier(), 260u);
  EXPECT_EQ(id.type(), ObjectType::mlog);
  EXPECT_EQ(id.slot(), 5);
  EXPECT_TRUE(id.is_mlog());
  EXPECT_FALSE(id.is_mblock());
  EXPECT_EQ(ObjectId::make(260, ObjectType::mlog, 5), id);
  EXPECT_EQ(id.to_string(), "0x104205");
}

TEST(ObjectId, UnknownTypesAreUndefined) {
  EXPECT_EQ(ObjectId{0x1000}.type(), ObjectType::undefined);
  EXPECT_EQ(ObjectId{0x1301}.type(), ObjectType::undefined);
  EXPECT_EQ(ObjectId{0x1f01}.type(), ObjectType::undefined);
}

TEST(ObjectId, ParsesWhatItPrints) {
  const ObjectId id = ObjectId::make(ObjectId::kMaxUniquifier, ObjectType::mblock, 255);
  EXPECT_EQ(ObjectId::parse(id.to_string()), id);
  EXPECT_EQ(ObjectId::parse("0x30101"), ObjectId{0x30101});
  EXPECT_EQ(ObjectId::parse("0xABC"), ObjectId{0xabc});
  for (const char* text : {"", "0x", "30101", "0x30101 ", " 0x30101", "0x3010g", "-0x1", "0x-1",
                           "0x10000000000000000"}) {
    EXPECT_EQ(ObjectId::parse(text), std::nullopt) << text;
  }
}

TEST(ObjectId, FixedPairs) {
  EXPECT_EQ(mdc_log_id(0, 0).value, 0x200u);
  EXPECT_EQ(mdc_log_id(0, 1).value, 0x1200u);
  EXPECT_EQ(mdc_log_id(16, 1).value, 0x21200u);
  EXPECT_EQ(root_log_id(0).value, 0x201u);
  EXPECT_EQ(root_log_id(1).value, 0x1201u);
}

TEST(ObjectId, GreatestUniquifier) {
  const ObjectId id = ObjectId::make(ObjectId::kMaxUniquifier, ObjectType::mblock, 255);
  EXPECT_EQ(id.uniquifier(), ObjectId::kMaxUniquifier);
  EXPECT_EQ(id.slot(), 255);
  EXPECT_TRUE(id.is_mblock());
}

}  // namespace
}  // namespace mpool

#include "engine/refs/pack_account.h"

#include <gtest/gtest.h>

namespace mpool::test {
namespace {

constexpr ObjectId kFirst = ObjectId::make(5, ObjectType::mlog, 2);
constexpr ObjectId kSecond = ObjectId::make(6, ObjectType::mlog, 2);

TEST(PackAccount, CountsBytesAndExtents) {
  PackAccount account;
  account.add_pack(kFirst);
  account.add_pack(kSecond);
  account.add(kFirst, 40, 100);
  account.add(kFirst, 200, 50);
  account.add(kSecond, 40, 7);
  EXPECT_EQ(account.packs().at(kFirst).live, 150u);
  EXPECT_EQ(account.packs().at(kFirst).extents, 2u);
  EXPECT_EQ(account.live(), 157u);
  // The end stays: content is never overwritten.
  account.drop(kFirst, 50);
  EXPECT_EQ(account.packs().at(kFirst).live, 100u);
  EXPECT_EQ(account.packs().at(kFirst).extents, 1u);
  EXPECT_EQ(account.packs().at(kFirst).end, 250u);
  account.drop(kFirst, 100);
  account.remove_pack(kFirst);
  EXPECT_FALSE(account.contains(kFirst));
  EXPECT_TRUE(account.contains(kSecond));
  EXPECT_EQ(account.live(), 7u);
}

TEST(PackAccount, TellsOfGarbage) {
  PackAccount account;
  int calls = 0;
  account.add_pack(kFirst);
  account.add(kFirst, 40, 100);
  account.on_garbage([&] { ++calls; });
  account.add(kFirst, 140, 100);
  EXPECT_EQ(calls, 0);
  account.drop(kFirst, 100);
  EXPECT_EQ(calls, 1);
  account.on_garbage(nullptr);
  account.drop(kFirst, 100);
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace mpool::test

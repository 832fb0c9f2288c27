#include "engine/object/range_set.h"

#include <bitset>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace mpool {
namespace {

using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

Ranges ranges_of(const RangeSet& set, std::uint64_t from = 0, std::uint64_t to = 1u << 20) {
  Ranges ranges;
  set.for_each_range(
      from, to, [&](std::uint64_t begin, std::uint64_t end) { ranges.emplace_back(begin, end); });
  return ranges;
}

Ranges gaps_of(const RangeSet& set, std::uint64_t limit) {
  Ranges gaps;
  set.for_each_gap(limit,
                   [&](std::uint64_t begin, std::uint64_t end) { gaps.emplace_back(begin, end); });
  return gaps;
}

TEST(RangeSet, MergesNeighbours) {
  RangeSet set;
  EXPECT_TRUE(set.insert(10, 20));
  EXPECT_TRUE(set.insert(30, 40));
  EXPECT_EQ(ranges_of(set), (Ranges{{10, 20}, {30, 40}}));
  EXPECT_TRUE(set.insert(20, 30));
  EXPECT_EQ(ranges_of(set), (Ranges{{10, 40}}));
}

TEST(RangeSet, InsertRefusesOverlap) {
  RangeSet set;
  ASSERT_TRUE(set.insert(10, 20));
  EXPECT_FALSE(set.insert(19, 25));
  EXPECT_FALSE(set.insert(5, 11));
  EXPECT_FALSE(set.insert(12, 13));
  EXPECT_FALSE(set.insert(0, 100));
  EXPECT_EQ(ranges_of(set), (Ranges{{10, 20}}));
  EXPECT_TRUE(set.insert(15, 15));
  EXPECT_EQ(ranges_of(set), (Ranges{{10, 20}}));
}

TEST(RangeSet, Empty) {
  RangeSet set;
  EXPECT_TRUE(set.empty());
  EXPECT_EQ(set.end(), 0u);
  EXPECT_TRUE(set.contains(5, 5));
  EXPECT_FALSE(set.contains(5, 6));
  EXPECT_EQ(gaps_of(set, 7), (Ranges{{0, 7}}));
  set.unite(3, 9);
  EXPECT_EQ(set.end(), 9u);
  set.clear();
  EXPECT_TRUE(set.empty());
}

TEST(RangeSet, EndOfNumbers) {
  constexpr std::uint64_t kMax = ~std::uint64_t{0};
  RangeSet set;
  EXPECT_TRUE(set.insert(kMax - 10, kMax));
  EXPECT_FALSE(set.insert(kMax - 1, kMax));
  EXPECT_TRUE(set.contains(kMax - 10, kMax));
  EXPECT_EQ(set.end(), kMax);
}

constexpr std::size_t kModelSize = 256;
using Bits = std::bitset<kModelSize>;

bool any(const Bits& model, std::size_t begin, std::size_t end) {
  for (std::size_t i = begin; i < end; ++i) {
    if (model[i]) return true;
  }
  return false;
}

// The runs of bits equal to `value` in [from, to).
Ranges runs(const Bits& model, bool value, std::size_t from, std::size_t to) {
  Ranges found;
  for (std::size_t i = from; i < to; ++i) {
    if (model[i] != value) continue;
    if (!found.empty() && found.back().second == i) {
      ++found.back().second;
    } else {
      found.emplace_back(i, i + 1);
    }
  }
  return found;
}

TEST(RangeSet, AgreesWithBitmap) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    RangeSet set;
    Bits model;
    for (int step = 0; step < 2000; ++step) {
      std::size_t begin = random() % kModelSize;
      std::size_t end = std::min<std::size_t>(begin + random() % 24, kModelSize);
      switch (random() % 3) {
        case 0: {
          const bool free = !any(model, begin, end);
          ASSERT_EQ(set.insert(begin, end), free);
          for (std::size_t i = begin; free && i < end; ++i)
            model.set(i);
          break;
        }
        case 1:
          set.unite(begin, end);
          for (std::size_t i = begin; i < end; ++i)
            model.set(i);
          break;
        default:
          set.erase(begin, end);
          for (std::size_t i = begin; i < end; ++i)
            model.reset(i);
      }
      const std::size_t from = random() % kModelSize;
      const std::size_t to = from + random() % (kModelSize - from + 1);
      ASSERT_EQ(ranges_of(set), runs(model, true, 0, kModelSize));
      ASSERT_EQ(ranges_of(set, from, to), runs(model, true, from, to));
      ASSERT_EQ(gaps_of(set, to), runs(model, false, 0, to));
      ASSERT_EQ(set.overlaps(from, to), any(model, from, to));
      ASSERT_EQ(set.contains(from, to), runs(model, false, from, to).empty());
      ASSERT_EQ(set.empty(), model.none());
    }
  }
}

}  // namespace
}  // namespace mpool

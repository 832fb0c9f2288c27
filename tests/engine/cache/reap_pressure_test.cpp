#include "engine/cache/reap_pressure.h"

#include <gtest/gtest.h>

namespace mpool {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kAll = 1'000'000;  // bytes
const ReaperSettings kHalf{.percent = 50};

class ReapPressureTest : public ::testing::Test {
 protected:
  void update(std::uint64_t resident, double returned = 0) {
    pressure_.update({.limit = 0, .available = kAll}, resident, kHalf, returned);
  }

  ReapPressure pressure_{ReaperPolicy{}};
};

TEST_F(ReapPressureTest, HasWatermarksOfTheAvailableMemory) {
  update(400'000);
  EXPECT_EQ(pressure_.free(), 600'000u);
  EXPECT_EQ(pressure_.low(), 500'000u);
  EXPECT_EQ(pressure_.high(), 550'000u);
  EXPECT_FALSE(pressure_.evicts());
  EXPECT_EQ(pressure_.ttl(), 10s);
}

TEST_F(ReapPressureTest, EvictsFromTheLowUntilAboveTheHighWatermark) {
  update(460'000);
  EXPECT_FALSE(pressure_.evicts());
  update(510'000);
  EXPECT_TRUE(pressure_.evicts());
  update(460'000);
  EXPECT_TRUE(pressure_.evicts());
  EXPECT_EQ(pressure_.ttl(), 10s);
  update(440'000);
  EXPECT_FALSE(pressure_.evicts());
}

TEST_F(ReapPressureTest, ShrinksTheTimeToLiveWithTheSquareOfWhatIsFree) {
  update(750'000);
  EXPECT_EQ(pressure_.ttl(), 2500ms);
  update(875'000);
  EXPECT_EQ(pressure_.ttl(), 625ms);
  update(940'000);
  EXPECT_EQ(pressure_.ttl(), 0s);
  update(400'000);
  EXPECT_EQ(pressure_.ttl(), 10s);
}

TEST_F(ReapPressureTest, LengthensItByThePartThatCameBack) {
  update(750'000, 0.5);
  EXPECT_EQ(pressure_.ttl(), 3750ms);
}

TEST_F(ReapPressureTest, CutsReadAheadUntilThePressureEnds) {
  update(800'000);
  EXPECT_EQ(pressure_.read_ahead_cut(), ReadAheadCut::none);
  update(880'000);
  EXPECT_EQ(pressure_.read_ahead_cut(), ReadAheadCut::cold);
  update(950'000);
  EXPECT_EQ(pressure_.read_ahead_cut(), ReadAheadCut::warm);
  update(480'000);
  EXPECT_EQ(pressure_.read_ahead_cut(), ReadAheadCut::warm);
  update(400'000);
  EXPECT_EQ(pressure_.read_ahead_cut(), ReadAheadCut::none);
}

TEST_F(ReapPressureTest, OfHundredPercentIsNone) {
  pressure_.update({.limit = 0, .available = kAll}, kAll, {.percent = 100}, 0);
  EXPECT_FALSE(pressure_.evicts());
}

TEST_F(ReapPressureTest, CountsResidentPagesAsAvailable) {
  pressure_.update({.limit = 0, .available = 10}, kAll, kHalf, 0);
  EXPECT_EQ(pressure_.free(), 0u);
  EXPECT_TRUE(pressure_.evicts());
}

TEST(DefaultPercent, DependsOnTheAmountOfMemory) {
  constexpr std::uint64_t kGib = std::uint64_t{1} << 30;
  EXPECT_EQ(default_percent(257 * kGib), 90u);
  EXPECT_EQ(default_percent(256 * kGib), 87u);
  EXPECT_EQ(default_percent(128 * kGib), 75u);
  EXPECT_EQ(default_percent(64 * kGib), 60u);
  EXPECT_EQ(default_percent(32 * kGib), 40u);
}

}  // namespace
}  // namespace mpool

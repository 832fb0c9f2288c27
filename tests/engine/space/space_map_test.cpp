#include "engine/space/space_map.h"

#include <cerrno>
#include <optional>
#include <set>

#include <gtest/gtest.h>

#include "tests/engine/space/support.h"

namespace mpool::test {
namespace {

constexpr auto kUsableOnly = SpacePolicy::usable_only;
constexpr auto kBoth = SpacePolicy::usable_then_spare;

void give_back(SpaceMap& map, std::uint64_t first_zone, std::uint32_t count) {
  map.retire(first_zone, count);
  map.release(first_zone, count);
}

// The numbers of the first implementation for the reference pools (`devices[].zones`).
TEST(SpaceMap, CountsAsInTheReferencePools) {
  struct Case {
    std::uint32_t total;
    unsigned percent;
    std::uint32_t used, usable, free_usable, spare, free_spare;
  };
  for (const Case& c : {Case{96, 5, 51, 91, 40, 5, 5}, Case{256, 5, 121, 243, 122, 13, 13},
                        Case{128, 10, 46, 115, 69, 13, 13}, Case{96, 25, 9, 72, 63, 24, 24},
                        Case{192, 5, 54, 182, 128, 10, 10}, Case{32, 5, 2, 30, 28, 2, 2},
                        Case{64, 5, 46, 60, 14, 4, 4}}) {
    SpaceMap map("dev", c.total, c.percent);
    map.insert(0, c.used);
    const auto usage = map.usage();
    EXPECT_EQ(usage.total, c.total);
    EXPECT_EQ(usage.usable, c.usable);
    EXPECT_EQ(usage.used, c.used);
    EXPECT_EQ(usage.free_usable, c.free_usable);
    EXPECT_EQ(usage.spare, c.spare);
    EXPECT_EQ(usage.free_spare, c.free_spare);
    EXPECT_EQ(usage.pending, 0u);
  }
}

TEST(SpaceMap, RefusesAMapWithoutZones) {
  EXPECT_EQ(error_of([] { SpaceMap map("dev", 0); }, "dev"), EINVAL);
}

TEST(SpaceMap, TakesMoreRegionsThanZones) {
  for (const unsigned regions : {0u, 1u, 3u, 1000u}) {
    SpaceMap map("dev", 3, 0, regions);
    std::set<std::uint64_t> zones;
    for (int i = 0; i < 3; ++i)
      zones.insert(map.allocate(1, kUsableOnly).value());
    EXPECT_EQ(zones, (std::set<std::uint64_t>{0, 1, 2}));
    EXPECT_EQ(map.allocate(1, kBoth), std::nullopt);
  }
}

TEST(SpaceMap, InsertFindsCorruption) {
  SpaceMap map("dev", 100);
  map.insert(10, 10);
  for (const auto& [first, count] : std::initializer_list<std::pair<std::uint64_t, std::uint32_t>>{
           {19, 2}, {9, 2}, {0, 100}, {12, 1}}) {
    EXPECT_EQ(error_of([&] { map.insert(first, count); }, "dev: "), ENOTRECOVERABLE);
  }
  EXPECT_EQ(error_of([&] { map.insert(100, 1); }, "zones 0 to 99"), ENOTRECOVERABLE);
  EXPECT_EQ(error_of([&] { map.insert(99, 2); }), ENOTRECOVERABLE);
  EXPECT_EQ(error_of([&] { map.insert(0, 0); }), ENOTRECOVERABLE);
  EXPECT_EQ(error_of([&] { map.insert(UINT64_MAX, 2); }), ENOTRECOVERABLE);
  EXPECT_EQ(error_of([&] { map.insert(1, UINT32_MAX); }), ENOTRECOVERABLE);
  EXPECT_EQ(map.usage().used, 10u);
  map.insert(20, 80);
  map.insert(0, 10);
  EXPECT_EQ(map.usage().used, 100u);
}

TEST(SpaceMap, InsertMayCrossRegions) {
  SpaceMap map("dev", 100, 0, 4);
  map.insert(20, 60);
  EXPECT_EQ(error_of([&] { map.insert(79, 2); }), ENOTRECOVERABLE);
  for (int i = 0; i < 40; ++i) {
    const auto zone = map.allocate(1, kUsableOnly).value();
    EXPECT_TRUE(zone < 20 || zone >= 80) << zone;
  }
  EXPECT_EQ(map.allocate(1, kUsableOnly), std::nullopt);
}

TEST(SpaceMap, AllocatesFirstFitRegionByRegion) {
  SpaceMap map("dev", 400, 0, 4);
  EXPECT_EQ(map.allocate(2, kUsableOnly), 0u);
  EXPECT_EQ(map.allocate(2, kUsableOnly), 100u);
  EXPECT_EQ(map.allocate(2, kUsableOnly), 200u);
  EXPECT_EQ(map.allocate(2, kUsableOnly), 300u);
  EXPECT_EQ(map.allocate(1, kUsableOnly), 2u);
  give_back(map, 100, 2);
  EXPECT_EQ(map.allocate(1, kUsableOnly), 100u);
}

TEST(SpaceMap, FallsBackToTheNextRegionWithRoom) {
  SpaceMap map("dev", 40, 0, 4);
  map.insert(0, 10);
  map.insert(10, 8);
  EXPECT_EQ(map.allocate(3, kUsableOnly), 20u);
  EXPECT_EQ(map.allocate(3, kUsableOnly), 23u);
}

TEST(SpaceMap, AllocatesAcrossRegionsWhatNoneHasRoomFor) {
  SpaceMap map("dev", 40, 0, 4);
  EXPECT_EQ(map.allocate(25, kUsableOnly), 0u);
  EXPECT_EQ(map.allocate(16, kUsableOnly), std::nullopt);
  EXPECT_EQ(map.allocate(15, kUsableOnly), 25u);
  EXPECT_EQ(map.allocate(1, kUsableOnly), std::nullopt);
  give_back(map, 0, 25);
  // Free: 0..24. In use again: all but 8..12, across the boundary at 10.
  map.insert(0, 8);
  map.insert(13, 12);
  EXPECT_EQ(map.allocate(6, kUsableOnly), std::nullopt);
  EXPECT_EQ(map.allocate(5, kUsableOnly), 8u);
}

TEST(SpaceMap, AlignsRunsInsideAndAcrossRegions) {
  SpaceMap map("dev", 100, 0, 4);
  map.insert(0, 1);
  EXPECT_EQ(map.allocate(3, kUsableOnly, 8), 8u);
  EXPECT_EQ(map.allocate(3, kUsableOnly, 8), 32u);
  EXPECT_EQ(map.allocate(30, kUsableOnly, 16), 48u);
  EXPECT_EQ(map.allocate(21, kUsableOnly, 16), std::nullopt);
  EXPECT_EQ(map.allocate(20, kUsableOnly, 16), 80u);
  EXPECT_EQ(map.allocate(1, kUsableOnly, 1u << 31), std::nullopt);
  EXPECT_EQ(error_of([&] { map.allocate(1, kUsableOnly, 3); }, "alignment 3"), EINVAL);
  EXPECT_EQ(error_of([&] { map.allocate(1, kUsableOnly, 0); }), EINVAL);
  EXPECT_EQ(error_of([&] { map.allocate(0, kUsableOnly); }), EINVAL);
}

TEST(SpaceMap, AllocatesNearAZone) {
  SpaceMap map("dev", 400, 0, 4);
  EXPECT_EQ(map.allocate(2, kUsableOnly, 1, 150), 150u);
  EXPECT_EQ(map.allocate(2, kUsableOnly, 1, 150), 152u);
  EXPECT_EQ(map.allocate(2, kUsableOnly, 8, 150), 160u);
  // No room to the end of its region: the next region, at last its own from the start.
  map.insert(170, 30);
  EXPECT_EQ(map.allocate(1, kUsableOnly, 1, 170), 200u);
  map.insert(201, 199);
  map.insert(0, 100);
  EXPECT_EQ(map.allocate(1, kUsableOnly, 1, 170), 100u);
  // A zone that does not exist is ignored as a hint.
  EXPECT_EQ(map.allocate(1, kUsableOnly, 1, 400), 101u);
}

TEST(SpaceMap, PoliciesSayWhatIsCharged) {
  SpaceMap map("dev", 100, 10, 1);
  EXPECT_EQ(map.allocate(91, kUsableOnly), std::nullopt);
  EXPECT_EQ(map.allocate(11, SpacePolicy::spare_only), std::nullopt);
  EXPECT_EQ(map.allocate(101, kBoth), std::nullopt);

  ASSERT_TRUE(map.allocate(4, SpacePolicy::spare_only));
  EXPECT_EQ(map.usage().free_spare, 6u);
  EXPECT_EQ(map.usage().free_usable, 90u);
  ASSERT_TRUE(map.allocate(4, SpacePolicy::spare_then_usable));
  EXPECT_EQ(map.usage().free_spare, 2u);
  ASSERT_TRUE(map.allocate(4, SpacePolicy::spare_then_usable));
  EXPECT_EQ(map.usage().free_spare, 0u);
  EXPECT_EQ(map.usage().free_usable, 88u);
  EXPECT_EQ(map.allocate(1, SpacePolicy::spare_only), std::nullopt);
  ASSERT_TRUE(map.allocate(88, kUsableOnly));
  expect_consistent(map.usage());
  EXPECT_EQ(map.usage().used, 100u);
}

TEST(SpaceMap, UsableThenSpareTakesUsableFirst) {
  SpaceMap map("dev", 100, 10);
  ASSERT_TRUE(map.allocate(85, kBoth));
  EXPECT_EQ(map.usage().free_usable, 5u);
  EXPECT_EQ(map.usage().free_spare, 10u);
  ASSERT_TRUE(map.allocate(8, kBoth));
  EXPECT_EQ(map.usage().free_usable, 0u);
  EXPECT_EQ(map.usage().free_spare, 7u);
  EXPECT_EQ(map.allocate(1, kUsableOnly), std::nullopt);
}

TEST(SpaceMap, FreedSpaceGoesBackToSpareFirst) {
  SpaceMap map("dev", 100, 10, 1);
  ASSERT_EQ(map.allocate(90, kUsableOnly), 0u);
  ASSERT_EQ(map.allocate(10, SpacePolicy::spare_only), 90u);
  give_back(map, 0, 4);
  EXPECT_EQ(map.usage().free_spare, 4u);
  EXPECT_EQ(map.usage().free_usable, 0u);
  give_back(map, 4, 10);
  EXPECT_EQ(map.usage().free_spare, 10u);
  EXPECT_EQ(map.usage().free_usable, 4u);
}

TEST(SpaceMap, FreedZonesWaitUntilReleased) {
  SpaceMap map("dev", 10, 0, 1);
  ASSERT_EQ(map.allocate(10, kUsableOnly), 0u);
  map.retire(3, 2);
  EXPECT_EQ(map.usage().pending, 2u);
  EXPECT_EQ(map.usage().used, 8u);
  EXPECT_EQ(map.usage().free_usable, 0u);
  EXPECT_EQ(map.allocate(1, kBoth), std::nullopt);
  map.release(3, 1);
  EXPECT_EQ(map.allocate(2, kUsableOnly), std::nullopt);
  map.release(4, 1);
  // Merged with its neighbour.
  EXPECT_EQ(map.allocate(2, kUsableOnly), 3u);
}

TEST(SpaceMap, RetireAndReleaseRefuseZonesInAnotherState) {
  SpaceMap map("dev", 100, 0, 4);
  map.insert(20, 20);
  EXPECT_EQ(error_of([&] { map.retire(39, 2); }, "not all in use"), EINVAL);
  EXPECT_EQ(error_of([&] { map.retire(100, 1); }, "out of range"), EINVAL);
  EXPECT_EQ(error_of([&] { map.retire(20, 0); }), EINVAL);
  EXPECT_EQ(error_of([&] { map.release(20, 1); }, "not all retired"), EINVAL);
  EXPECT_EQ(error_of([&] { map.release(UINT64_MAX, 1); }, "out of range"), EINVAL);
  map.retire(20, 10);
  EXPECT_EQ(error_of([&] { map.retire(29, 2); }), EINVAL);
  EXPECT_EQ(error_of([&] { map.release(29, 2); }), EINVAL);
  EXPECT_EQ(error_of([&] { map.insert(20, 10); }), ENOTRECOVERABLE);
  EXPECT_EQ(map.usage().pending, 10u);
  EXPECT_EQ(map.usage().used, 10u);
  map.release(20, 10);
  EXPECT_EQ(error_of([&] { map.release(20, 10); }), EINVAL);
  EXPECT_EQ(map.usage().free_usable, 90u);
}

TEST(SpaceMap, SparePercentChangesWithoutFailing) {
  SpaceMap map("dev", 100, 5);
  EXPECT_EQ(map.spare_percent(), 5u);
  map.insert(0, 60);
  ASSERT_TRUE(map.allocate(3, SpacePolicy::spare_only));
  map.set_spare_percent(50);
  EXPECT_EQ(map.spare_percent(), 50u);
  auto usage = map.usage();
  expect_consistent(usage);
  EXPECT_EQ(usage.usable, 50u);
  EXPECT_EQ(usage.used, 63u);
  EXPECT_EQ(usage.free_usable, 0u);
  EXPECT_EQ(usage.free_spare, 37u);
  EXPECT_EQ(map.allocate(1, kUsableOnly), std::nullopt);
  ASSERT_TRUE(map.allocate(1, kBoth));

  map.set_spare_percent(0);
  usage = map.usage();
  expect_consistent(usage);
  EXPECT_EQ(usage.free_usable, 36u);
  EXPECT_EQ(usage.free_spare, 0u);
  map.set_spare_percent(1000);
  EXPECT_EQ(map.spare_percent(), 100u);
  EXPECT_EQ(map.usage().usable, 0u);
  EXPECT_EQ(map.usage().free_spare, 36u);
  expect_consistent(map.usage());
}

TEST(SpaceMap, LoadedObjectsMayExceedUsable) {
  SpaceMap map("dev", 100, 25);
  map.insert(0, 90);
  EXPECT_EQ(map.usage().usable, 75u);
  EXPECT_EQ(map.usage().used, 90u);
  EXPECT_EQ(map.usage().free_usable, 0u);
  EXPECT_EQ(map.usage().free_spare, 10u);
  give_back(map, 0, 10);
  EXPECT_EQ(map.usage().free_usable, 0u);
  EXPECT_EQ(map.usage().free_spare, 20u);
  give_back(map, 10, 10);
  EXPECT_EQ(map.usage().free_usable, 5u);
  EXPECT_EQ(map.usage().free_spare, 25u);
}

TEST(SpaceMap, GrowsAtTheEnd) {
  SpaceMap map("dev", 10, 10, 2);
  map.insert(0, 9);
  EXPECT_EQ(map.allocate(1, kUsableOnly), std::nullopt);
  map.grow(10);
  EXPECT_EQ(map.usage().total, 10u);
  EXPECT_EQ(error_of([&] { map.grow(9); }, "less than 10"), EINVAL);
  map.grow(200);
  const auto usage = map.usage();
  expect_consistent(usage);
  EXPECT_EQ(usage.total, 200u);
  EXPECT_EQ(usage.usable, 180u);
  EXPECT_EQ(usage.free_usable, 171u);
  EXPECT_EQ(map.allocate(171, kUsableOnly), 9u);
  EXPECT_EQ(error_of([&] { map.insert(179, 2); }), ENOTRECOVERABLE);
  map.insert(180, 20);
  EXPECT_EQ(map.usage().used, 200u);
}

}  // namespace
}  // namespace mpool::test

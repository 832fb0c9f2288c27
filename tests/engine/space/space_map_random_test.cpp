// The space map against a simple model, and under many threads.
#include <algorithm>
#include <atomic>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/space/space_map.h"
#include "tests/engine/space/support.h"

namespace mpool::test {
namespace {

using Zones = std::pair<std::uint64_t, std::uint32_t>;

// The guarantees of the space map, checked zone by zone.
class Model {
 public:
  Model(std::uint32_t zones, unsigned percent) : free_(zones, true), percent_(percent) {}

  bool is_free(std::uint64_t first, std::uint32_t count) const {
    for (std::uint64_t zone = first; zone < first + count; ++zone) {
      if (zone >= free_.size() || !free_[zone]) return false;
    }
    return true;
  }

  bool has_run(std::uint32_t count, std::uint32_t alignment) const {
    for (std::uint64_t zone = 0; zone + count <= free_.size(); zone += alignment) {
      if (is_free(zone, count)) return true;
    }
    return false;
  }

  bool has_room(std::uint32_t count, SpacePolicy policy) const {
    const auto [usable, spare] = room();
    if (policy == SpacePolicy::usable_only) return count <= usable;
    if (policy == SpacePolicy::spare_only) return count <= spare;
    return count <= usable + spare;
  }

  void take(std::uint64_t first, std::uint32_t count, SpacePolicy policy) {
    const auto [usable, spare] = room();
    if (policy == SpacePolicy::usable_then_spare) spare_used_ += count - std::min(count, usable);
    if (policy == SpacePolicy::spare_only) spare_used_ += count;
    if (policy == SpacePolicy::spare_then_usable) spare_used_ += std::min(count, spare);
    set(first, count, false);
  }

  void give(std::uint64_t first, std::uint32_t count) {
    spare_used_ -= std::min(spare_used_, count);
    set(first, count, true);
  }

  void set_percent(unsigned percent) {
    percent_ = percent;
    spare_used_ = std::min(spare_used_, total() - usable());
  }
  void grow(std::uint32_t zones) {
    free_.resize(zones, true);
    set_percent(percent_);
  }

  std::uint32_t total() const { return static_cast<std::uint32_t>(free_.size()); }
  // {free usable, free spare}
  std::pair<std::uint32_t, std::uint32_t> room() const {
    const auto free = static_cast<std::uint32_t>(std::ranges::count(free_, true));
    const std::uint32_t charged = total() - free - spare_used_;
    const std::uint32_t free_usable = charged > usable() ? 0 : usable() - charged;
    return {free_usable, free - free_usable};
  }

 private:
  std::uint32_t usable() const { return total() * (100 - percent_) / 100; }
  void set(std::uint64_t first, std::uint32_t count, bool value) {
    for (std::uint64_t zone = first; zone < first + count; ++zone)
      free_[zone] = value;
  }

  std::vector<bool> free_;
  unsigned percent_;
  std::uint32_t spare_used_ = 0;
};

constexpr SpacePolicy kPolicies[] = {SpacePolicy::usable_only, SpacePolicy::usable_then_spare,
                                     SpacePolicy::spare_only, SpacePolicy::spare_then_usable};

// One random walk of a map beside its model.
class Walk {
 public:
  Walk(unsigned seed, std::uint32_t zones, unsigned regions)
      : random_(seed), map_("dev", zones, 20, regions), model_(zones, 20) {}

  void step() {
    const auto choice = random_() % 100;
    if (choice < 45) return allocate();
    if (choice < 80) return retire();
    if (choice < 95) return release();
    if (choice < 98) return insert();
    if (choice < 99) return change_percent();
    grow();
  }

  void check() const {
    const auto usage = map_.usage();
    expect_consistent(usage);
    const auto [free_usable, free_spare] = model_.room();
    ASSERT_EQ(usage.total, model_.total());
    ASSERT_EQ(usage.free_usable, free_usable);
    ASSERT_EQ(usage.free_spare, free_spare);
    ASSERT_EQ(usage.pending, pending_zones_);
  }

 private:
  void allocate() {
    const std::uint32_t count = 1 + random_() % (random_() % 8 == 0 ? model_.total() / 2 + 1 : 6);
    const std::uint32_t alignment = 1u << (random_() % 3 == 0 ? random_() % 5 : 0);
    const SpacePolicy policy = kPolicies[random_() % 4];
    std::optional<std::uint64_t> near;
    if (random_() % 3 == 0) near = random_() % model_.total();
    const bool possible = model_.has_room(count, policy) && model_.has_run(count, alignment);
    const auto zone = map_.allocate(count, policy, alignment, near);
    ASSERT_EQ(zone.has_value(), possible) << count << " aligned " << alignment;
    if (!zone) return;
    ASSERT_EQ(*zone % alignment, 0u);
    ASSERT_TRUE(model_.is_free(*zone, count)) << *zone << " + " << count;
    model_.take(*zone, count, policy);
    used_.emplace_back(*zone, count);
  }

  void retire() {
    if (used_.empty()) return;
    const Zones run = take_from(used_);
    map_.retire(run.first, run.second);
    pending_.push_back(run);
    pending_zones_ += run.second;
  }

  void release() {
    if (pending_.empty()) return;
    const Zones run = take_from(pending_);
    map_.release(run.first, run.second);
    model_.give(run.first, run.second);
    pending_zones_ -= run.second;
  }

  void insert() {
    const std::uint64_t first = random_() % (model_.total() + 2);
    const std::uint32_t count = 1 + random_() % 8;
    const bool possible = model_.is_free(first, count);
    const int code = error_of([&] { map_.insert(first, count); });
    ASSERT_EQ(code, possible ? 0 : ENOTRECOVERABLE);
    if (!possible) return;
    model_.take(first, count, SpacePolicy::usable_only);
    used_.emplace_back(first, count);
  }

  void change_percent() {
    const unsigned percent = random_() % 101;
    map_.set_spare_percent(percent);
    model_.set_percent(percent);
  }

  void grow() {
    if (model_.total() > 2000) return;
    const std::uint32_t zones = model_.total() + random_() % 20;
    map_.grow(zones);
    model_.grow(zones);
  }

  Zones take_from(std::vector<Zones>& runs) {
    std::swap(runs[random_() % runs.size()], runs.back());
    const Zones run = runs.back();
    runs.pop_back();
    return run;
  }

  Random random_;
  SpaceMap map_;
  Model model_;
  std::vector<Zones> used_, pending_;
  std::uint32_t pending_zones_ = 0;
};

TEST(SpaceMapRandom, FollowsTheModel) {
  const unsigned seed = std::random_device{}();
  for (const std::uint32_t zones : {1u, 7u, 100u, 500u, 1000u}) {
    for (const unsigned regions : {1u, 4u, 7u}) {
      SCOPED_TRACE("seed " + std::to_string(seed) + ", zones " + std::to_string(zones) +
                   ", regions " + std::to_string(regions));
      Walk walk(seed, zones, regions);
      for (unsigned step = 0; step < 3000; ++step) {
        walk.step();
        ASSERT_NO_FATAL_FAILURE(walk.check()) << "step " << step;
        ASSERT_FALSE(testing::Test::HasFailure()) << "step " << step;
      }
    }
  }
}

TEST(SpaceMapThreads, NoZoneIsGivenTwiceAndNoneIsLost) {
  constexpr std::uint32_t kMapZones = 2000;
  constexpr unsigned kThreads = 4;
  SpaceMap map("dev", kMapZones / 2);
  std::vector<std::atomic<int>> owners(kMapZones);
  std::atomic<int> wrong = 0;
  const auto give_back = [&](const Zones& zones) {
    const auto [first, length] = zones;
    for (auto z = first; z < first + length; ++z)
      --owners[z];
    map.retire(first, length);
    map.release(first, length);
  };
  const auto work = [&](unsigned thread) {
    Random random(thread);
    std::vector<Zones> mine;
    for (unsigned step = 0; step < 20000; ++step) {
      const std::uint32_t count = 1 + random() % (random() % 64 == 0 ? 300 : 5);
      if (random() % 2 == 0) {
        const auto zone = map.allocate(count, kPolicies[random() % 4], 1u << random() % 3);
        if (!zone) continue;
        for (auto z = *zone; z < *zone + count; ++z)
          wrong += owners[z]++ != 0 ? 1 : 0;
        mine.emplace_back(*zone, count);
      } else if (!mine.empty()) {
        std::swap(mine[random() % mine.size()], mine.back());
        give_back(mine.back());
        mine.pop_back();
      }
      if (thread == 0 && step % 100 == 0) {
        map.set_spare_percent(random() % 100);
        map.grow(kMapZones / 2 + step / 20);
        expect_consistent(map.usage());
      }
    }
    for (const Zones& zones : mine)
      give_back(zones);
  };
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < kThreads; ++thread)
    threads.emplace_back(work, thread);
  for (auto& thread : threads)
    thread.join();
  EXPECT_EQ(wrong, 0);
  map.grow(kMapZones);
  map.set_spare_percent(0);
  EXPECT_EQ(map.usage().free_usable, kMapZones);
  EXPECT_EQ(map.allocate(kMapZones, SpacePolicy::usable_only), 0u);
}

}  // namespace
}  // namespace mpool::test

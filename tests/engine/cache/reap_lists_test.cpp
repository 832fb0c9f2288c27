#include "engine/cache/reap_lists.h"

#include <cmath>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/cache/simulated_cache.h"
#include "tests/support/stepped_clock.h"

namespace mpool {
namespace {

using namespace std::chrono_literals;
using test::SimulatedCache;
using test::SimulatedChunk;
using test::SteppedClock;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t kChunkPages = 64;
constexpr std::uint64_t kProbePages = 4;

class ReapListsTest : public ::testing::Test {
 protected:
  std::shared_ptr<SimulatedChunk> chunk(Advice advice = Advice::cold) {
    auto made = std::make_shared<SimulatedChunk>(cache_, next_++, kChunkPages, advice);
    lists_->add(made);
    return made;
  }

  // Looks at each list once, a round long. `available`: pages.
  void round(std::uint64_t available) {
    for (unsigned list = 0; list < policy_.lists; ++list) {
      next_look_ = lists_->look({.limit = 0, .available = available * kPageSize}, settings_);
      clock_.advance(Clock::Duration(policy_.round) / policy_.lists);
    }
  }
  void rounds(unsigned count, std::uint64_t available) {
    for (unsigned i = 0; i < count; ++i)
      round(available);
  }

  SteppedClock clock_;
  SimulatedCache cache_{1u << 20};
  ReaperPolicy policy_;
  ReaperSettings settings_;  // 40 % of the memory
  std::optional<ReapLists> lists_{std::in_place, clock_, policy_};
  std::uint64_t next_ = 0;
  std::optional<Clock::Duration> next_look_;
};

// Memory of which a chunk is nearly all.
constexpr std::uint64_t kShort = kChunkPages + 1;
constexpr std::uint64_t kPlenty = kChunkPages * 100;

TEST_F(ReapListsTest, NothingIsEvictedWhileMemoryIsFree) {
  const auto cold = chunk();
  cold->read_all();
  rounds(100, kPlenty);
  EXPECT_THAT(cold->evictions, IsEmpty());
  EXPECT_EQ(cold->resident(), kChunkPages);
  EXPECT_EQ(lists_->counts().resident, (std::array<std::uint64_t, 4>{kChunkPages, 0, 0, 0}));
}

TEST_F(ReapListsTest, LooksEndWhenNothingGrowsAndMemoryIsFree) {
  const auto cold = chunk();
  cold->read_all();
  round(kPlenty);
  EXPECT_TRUE(next_look_);
  rounds(2, kPlenty);
  EXPECT_FALSE(next_look_);
}

TEST_F(ReapListsTest, AnUnusedChunkIsProbedThenEvicted) {
  const auto cold = chunk();
  cold->read_all();
  round(kShort);
  EXPECT_THAT(cold->evictions, IsEmpty());  // just read
  round(kShort);
  EXPECT_THAT(cold->evictions, ElementsAre(kProbePages * kPageSize));
  round(kShort);
  EXPECT_THAT(cold->evictions, ElementsAre(kProbePages * kPageSize, kChunkPages * kPageSize));
  EXPECT_EQ(cold->resident(), 0u);
  EXPECT_EQ(lists_->counts().evicted, kChunkPages);
  EXPECT_EQ(lists_->counts().over_evicted, 0u);
}

TEST_F(ReapListsTest, AChunkInUseKeepsItsPages) {
  const auto hot = chunk();
  hot->read_all();
  std::uint64_t missing = 0;
  for (unsigned i = 0; i < 100; ++i) {
    round(kShort);
    missing += kChunkPages - hot->resident();
    hot->read_all();
  }
  // Probes, less and less often.
  EXPECT_LE(missing, 8 * kProbePages);
  for (const std::uint64_t length : hot->evictions)
    EXPECT_EQ(length, kProbePages * kPageSize);
}

TEST_F(ReapListsTest, UsesTheOwnerKnowsOfCount) {
  const auto used = chunk();
  used->read_all();
  for (unsigned i = 0; i < 20; ++i) {
    round(kShort);
    ++used->uses;
  }
  EXPECT_THAT(used->evictions, IsEmpty());
}

TEST_F(ReapListsTest, PagesThatComeBackAreCountedAndProtectTheChunk) {
  const auto back = chunk();
  back->read_all();
  rounds(3, kShort);
  EXPECT_EQ(back->resident(), 0u);
  back->read_all();
  rounds(2, kShort);
  EXPECT_EQ(lists_->counts().over_evicted, kChunkPages);
  EXPECT_EQ(back->evictions.size(), 2u);  // a second more
  rounds(1, kShort);
  EXPECT_EQ(back->evictions.size(), 3u);
}

TEST_F(ReapListsTest, AdviceMultipliesTheTimeToLive) {
  // Enough that each of them takes the free memory to half of the low watermark.
  const std::uint64_t available = 4 * kChunkPages * 10 / 7;
  settings_.ttl = 8s;  // a quarter of it at half of the watermark
  const auto cold = chunk(Advice::cold);
  const auto warm = chunk(Advice::warm);
  const auto hot = chunk(Advice::hot);
  const auto pinned = chunk(Advice::pinned);
  for (const auto& each : {cold, warm, hot, pinned})
    each->read_all();
  rounds(2, available);
  EXPECT_GT(lists_->pressure().ttl(), 1900ms);
  EXPECT_LT(lists_->pressure().ttl(), 2100ms);
  rounds(3, available);
  EXPECT_EQ(cold->resident(), 0u);
  EXPECT_THAT(warm->evictions, IsEmpty());
  rounds(30, kChunkPages * 2 + 1);  // distress
  EXPECT_EQ(warm->resident(), 0u);
  EXPECT_EQ(hot->resident(), 0u);
  EXPECT_EQ(pinned->resident(), kChunkPages);
}

TEST_F(ReapListsTest, TheMostIdleGoesFirstAndNoMoreThanNeeded) {
  policy_.lists = 1;
  lists_.emplace(clock_, policy_);
  const auto old = chunk();
  old->read_all();
  round(kPlenty);
  const auto young = chunk();
  young->read_all();
  round(kPlenty);
  clock_.advance(10min);
  // 40 % are little more than one of the two.
  const std::uint64_t available = 3 * kChunkPages;
  rounds(2, available);
  EXPECT_EQ(old->resident(), 0u);
  EXPECT_GE(young->resident(), kChunkPages - kProbePages);
}

TEST_F(ReapListsTest, PagesThatAreMappedAreSkipped) {
  const auto mapped = chunk();
  mapped->read_all();
  mapped->mapped = true;
  rounds(3, kShort);
  EXPECT_EQ(lists_->counts().skipped, kChunkPages);
  EXPECT_EQ(lists_->counts().evicted, 0u);
  rounds(60, kShort);
  EXPECT_LE(mapped->evictions.size(), 14u);
}

TEST_F(ReapListsTest, ChunksThatAreGoneOrClosedAndEmptyAreForgotten) {
  const auto gone = chunk();
  const auto closed = chunk();
  const auto open = chunk();
  round(kPlenty);
  EXPECT_EQ(lists_->counts().chunks, 3u);
  gone->gone = true;
  closed->open = false;
  round(kPlenty);
  EXPECT_EQ(lists_->counts().chunks, 1u);
}

// The clock stands still during a look, but for this chunk.
class SlowChunk final : public CachedChunk {
 public:
  SlowChunk(SteppedClock& clock, unsigned& looks) : clock_(clock), looks_(looks) {}
  std::optional<State> look() override {
    ++looks_;
    clock_.advance(5ms);
    return State{.resident = 1};
  }
  void evict(std::uint64_t, std::uint64_t) override {}
  std::uint64_t length() const override { return kPageSize; }
  Advice advice() const override { return Advice::cold; }
  bool kept() const override { return true; }

 private:
  SteppedClock& clock_;
  unsigned& looks_;
};

TEST_F(ReapListsTest, ALookIsBoundedInTime) {
  unsigned looks = 0;
  policy_.lists = 1;
  lists_.emplace(clock_, policy_);
  for (unsigned i = 0; i < 10; ++i)
    lists_->add(std::make_shared<SlowChunk>(clock_, looks));
  const MemoryInfo memory{.limit = 0, .available = 1u << 30};
  for (const unsigned seen : {4u, 8u, 10u, 14u}) {
    lists_->look(memory, settings_);
    EXPECT_EQ(looks, seen);
  }
  EXPECT_EQ(lists_->counts().chunks, 10u);
}

// Reads in percent that miss, of Zipf reads of hot chunks beside a scan of chunks that are read
// once.
double misses_beside_scan(bool reaps) {
  constexpr unsigned kHot = 32;
  constexpr unsigned kScanned = 512;
  constexpr unsigned kWarmUp = 30;
  constexpr unsigned kSeconds = 130;
  SteppedClock clock;
  SimulatedCache cache(40 * kChunkPages);
  ReapLists lists(clock, {});
  ReaperSettings settings{.percent = 90};
  std::vector<std::shared_ptr<SimulatedChunk>> chunks;
  for (unsigned i = 0; i < kHot + kScanned; ++i) {
    chunks.push_back(std::make_shared<SimulatedChunk>(cache, i, kChunkPages));
    lists.add(chunks.back());
  }
  std::vector<double> weights;
  for (unsigned i = 0; i < kHot; ++i)
    weights.push_back(std::pow(i + 1, -0.99));
  std::discrete_distribution<std::uint64_t> zipf(weights.begin(), weights.end());
  std::mt19937 random(1);
  std::uint64_t misses = 0;
  std::uint64_t reads = 0;
  for (unsigned third = 0; third < 3 * kSeconds; ++third) {
    for (unsigned i = 0; i < 200; ++i) {
      const std::uint64_t page = random() % kChunkPages;
      const bool hit = cache.read(zipf(random), page);
      if (third < 3 * kWarmUp) continue;
      ++reads;
      misses += hit ? 0 : 1;
    }
    chunks[kHot + third % kScanned]->read_all();
    if (reaps) lists.look({.limit = 0, .available = 40 * kChunkPages * kPageSize}, settings);
    clock.advance(Clock::Duration(1s) / 3);
  }
  return 100.0 * static_cast<double>(misses) / static_cast<double>(reads);
}

TEST(ReapListsSimulation, HotChunksSurviveAScan) {
  const double without = misses_beside_scan(false);
  const double with = misses_beside_scan(true);
  EXPECT_LT(with, without * 0.85) << without;
}

}  // namespace
}  // namespace mpool

#include "engine/mlog/pair_state.h"

#include <fmt/format.h>

#include "engine/mlog/mlog.h"

namespace mpool {
namespace {

// The pair ordered by generation: `lower` has the smaller one and is the active half of every pair
// in use.
class Pair {
 public:
  Pair(const std::array<FoundLog, 2>& halves, PairUse use)
      : halves_(halves),
        low_(halves[1].generation < halves[0].generation ? 1 : 0),
        same_generation_(halves[0].generation == halves[1].generation),
        unused_(use == PairUse::unused || (same_generation_ && halves[0].generation == 0)) {}

  PairDecision decide() const {
    for (const FoundLog& half : halves_) {
      if (!half.damage.empty()) return in_doubt(fmt::format("{}: {}", half.name, half.damage));
    }
    if (same_generation_ && halves_[0].generation != 0) {
      return in_doubt(
          fmt::format("{} and {} have the same generation {}: which of them counts "
                      "cannot be told",
                      halves_[0].name, halves_[1].name, halves_[0].generation));
    }
    return lower().complete() ? decide_complete() : decide_incomplete();
  }

 private:
  const FoundLog& lower() const { return halves_[low_]; }
  const FoundLog& upper() const { return halves_[1 - low_]; }

  PairDecision in_doubt(std::string why) const {
    const bool upper_tells_more = lower().records == 0 && upper().records != 0;
    return {.active = upper_tells_more ? 1 - low_ : low_, .doubt = std::move(why)};
  }

  // A compaction copies the lower half to the upper one, and then records a generation of the lower
  // half that makes it the upper one.
  PairDecision decide_complete() const {
    if (upper().records_after_end || (same_generation_ && upper().written())) {
      return in_doubt(
          fmt::format("{} was in use after {}, but the record of the greater generation "
                      "of {} is not there",
                      upper().name, lower().name, lower().name));
    }
    return {.active = low_, .erase_other = same_generation_ || upper().written()};
  }

  PairDecision decide_incomplete() const {
    if (upper().written()) {
      return in_doubt(fmt::format("{} (at {}), whose records should count, {}, but {} is written",
                                  lower().name, lower().begin,
                                  lower().written() ? "has no end of a compaction" : "is empty",
                                  upper().name));
    }
    if (lower().torn_blocks || lower().records != 0) {
      return in_doubt(
          fmt::format("{} (at {}) lacks its {}, and {} is empty", lower().name, lower().begin,
                      lower().has_start ? "end of a compaction" : "first block", upper().name));
    }
    if (!unused_) {
      return in_doubt(
          fmt::format("{} is empty, but by the generations {} and {} the pair was in use: "
                      "its first block (at {}) is lost",
                      lower().name, halves_[0].generation, halves_[1].generation, lower().begin));
    }
    return {.active = low_, .first_use = true, .erase_other = same_generation_};
  }

  const std::array<FoundLog, 2>& halves_;
  const unsigned low_;
  const bool same_generation_;
  const bool unused_;
};

}  // namespace

FoundLog describe(const Mlog& log) {
  const Mlog::Stats stats = log.stats();
  const Mlog::OpenInfo& opened = log.opened();
  return {.name = log.name(),
          .begin = log.begin(),
          .generation = log.generation(),
          .damage = opened.damage,
          .torn_blocks = opened.torn_blocks,
          .blocks = stats.blocks,
          .has_start = stats.has_compaction_start,
          .has_end = stats.has_compaction_end,
          .records = log.record_count(),
          .records_after_end = opened.records_after_compaction_end};
}

PairDecision decide_pair(const std::array<FoundLog, 2>& halves, PairUse use) {
  return Pair(halves, use).decide();
}

}  // namespace mpool

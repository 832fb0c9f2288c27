// How short memory is for the pages of committed content.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/base/clock.h"
#include "engine/cache/memory.h"
#include "engine/cache/reaper_settings.h"

namespace mpool {

// Which content's read-ahead is cut to few pages.
enum class ReadAheadCut : std::uint8_t { none, cold, warm };
std::string_view to_string(ReadAheadCut cut);

// Free is the available memory without the tracked pages. Below the low watermark unused pages are
// evicted, until free memory is above the high one.
//
// Threads: one at a time.
class ReapPressure {
 public:
  explicit ReapPressure(const ReaperPolicy& policy) : policy_(policy) {}

  // `resident`: bytes of the tracked pages. `returned`: the part of the pages evicted lately that
  // came back, 0..1.
  void update(const MemoryInfo& memory, std::uint64_t resident, const ReaperSettings& settings,
              double returned);

  bool evicts() const { return evicts_; }
  // How long an unused chunk stays whose advice is cold.
  Clock::Duration ttl() const { return ttl_; }
  ReadAheadCut read_ahead_cut() const { return cut_; }
  std::uint64_t free() const { return free_; }  // bytes
  std::uint64_t low() const { return low_; }
  std::uint64_t high() const { return high_; }

 private:
  ReaperPolicy policy_;
  bool evicts_ = false;
  Clock::Duration ttl_{};
  ReadAheadCut cut_ = ReadAheadCut::none;
  std::uint64_t free_ = 0;
  std::uint64_t low_ = 0;
  std::uint64_t high_ = 0;
};

}  // namespace mpool

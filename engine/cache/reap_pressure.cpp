#include "engine/cache/reap_pressure.h"

#include <algorithm>

namespace mpool {

std::string_view to_string(ReadAheadCut cut) {
  switch (cut) {
    case ReadAheadCut::none:
      return "none";
    case ReadAheadCut::cold:
      return "cold";
    case ReadAheadCut::warm:
      return "warm";
  }
  return {};
}

void ReapPressure::update(const MemoryInfo& memory, std::uint64_t resident,
                          const ReaperSettings& settings, double returned) {
  const unsigned percent = settings.percent != 0 ? settings.percent : default_percent(memory.limit);
  const std::uint64_t all = std::max(memory.available, resident);
  free_ = all - resident;
  low_ = all / 100 * (100 - percent);
  high_ = std::min(all, low_ + all / 100 * policy_.high_percent);
  if (percent == 100 || free_ > high_)
    evicts_ = false;
  else if (free_ < low_)
    evicts_ = true;

  ttl_ = settings.ttl;
  if (!evicts_) {
    cut_ = ReadAheadCut::none;
    return;
  }
  const double share = std::min(
      1.0, static_cast<double>(free_) / static_cast<double>(std::max<std::uint64_t>(low_, 1)));
  const auto shrunk = static_cast<double>(ttl_.count()) * share * share * (1 + returned);
  ttl_ = free_ < low_ / policy_.distress_divisor
             ? Clock::Duration::zero()
             : std::min(ttl_, Clock::Duration(static_cast<Clock::Duration::rep>(shrunk)));
  // A cut stays until the pressure ends.
  if (free_ < low_ / policy_.warm_divisor)
    cut_ = ReadAheadCut::warm;
  else if (free_ < low_ / policy_.cold_divisor)
    cut_ = std::max(cut_, ReadAheadCut::cold);
}

}  // namespace mpool

// Logs and pairs of logs as found on the media. Internal to engine/check.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "engine/check/report.h"
#include "engine/mlog/mdc.h"

namespace mpool::check {

// A pair as an activation finds it (mlog/pair_state.h).
struct Pair {
  std::array<std::unique_ptr<Mlog>, 2> logs;  // null: it cannot be read at all
  // the half whose records are valid; of a damaged pair, the more complete half
  unsigned active = 0;

  const Mlog* log() const { return logs[active].get(); }
};

// Examines both logs and reports their faults in `area`. `fresh`: a log that was never opened is
// not reported.
Pair examine_pair(Report& report, Area area, const std::string& name,
                  const std::array<Mdc::Half, 2>& halves, PairUse use, bool fresh);

// A user's log, which may be half of a pair.
void examine_log(Report& report, const MlogLocation& location);

}  // namespace mpool::check

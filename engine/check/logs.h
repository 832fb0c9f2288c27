// Logs and pairs of logs as they lie on the media. Internal to engine/check.
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
  unsigned active = 0;  // the half whose records count; of a damaged pair, the one that tells most

  const Mlog* log() const { return logs[active].get(); }
};

// Examines both logs and reports what is wrong with them, in `area`. `fresh`: one that was never
// opened is nothing worth mentioning.
Pair examine_pair(Report& report, Area area, const std::string& name,
                  const std::array<Mdc::Half, 2>& halves, PairUse use, bool fresh);

// A log of a user, that may or may not be one of a pair.
void examine_log(Report& report, const MlogPlace& place);

}  // namespace mpool::check

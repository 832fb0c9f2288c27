// Logs and pairs of logs as they lie on the media. Internal to engine/check.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "engine/check/report.h"
#include "engine/mlog/mdc.h"

namespace mpool::check {

// Where a log ends although more of it follows: block `end` or one after it, before `found`, was
// part of the log once. nullopt when what lies after the end can be what a flush that was cut or
// failed has left.
//
// The reason (on-media-format, "mlog", flush sets): a flush writes one flush set, and the next one
// starts only when it is durable. A block that begins a flush set, that is whose previous id is not
// its own, therefore shows that the block before it was whole. Past the end of a sound log there
// are only blocks within flush sets.
struct LostBlocks {
  std::uint32_t end = 0;
  std::uint32_t found = 0;
};
std::optional<LostBlocks> find_lost_blocks(const MlogPlace& place, const Mlog::Facts& facts);

// One log of a pair.
struct Half {
  std::unique_ptr<Mlog> log;  // null: not valid
  bool unfinished = false;    // a compaction that did not finish
  std::string fault;          // why it is not valid; empty: unfinished
};

// A pair as an activation would find it (on-media-format, "MDC (pair of mlogs)").
struct Pair {
  std::array<Half, 2> halves;
  std::optional<unsigned> active;  // the half whose records count; nullopt: cannot be told

  const Mlog* log() const { return active ? halves[*active].log.get() : nullptr; }
};

// Examines both logs and reports what is wrong with them, in `area`. `fresh`: one that was never
// opened is nothing worth mentioning.
Pair examine_pair(Report& report, Area area, const std::string& name,
                  const std::array<Mdc::Half, 2>& halves, bool fresh);

// A log of a user, that may or may not be one of a pair.
void examine_log(Report& report, const MlogPlace& place);

}  // namespace mpool::check

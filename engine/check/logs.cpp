#include "engine/check/logs.h"

#include "engine/base/error.h"

namespace mpool::check {
namespace {

constexpr const char* kKeep =
    "write nothing to the device: with the right block put back all is there again; what can be "
    "read a mount with -o ro shows; the rest is to be restored from a backup";

FoundLog open_half(const MlogLocation& location, std::unique_ptr<Mlog>& log) {
  try {
    log = Mlog::open(location, CompactionSemantics::on, OnDamage::report);
    return describe(*log);
  } catch (const Error& error) {
    return {.name = location.name, .generation = location.generation, .damage = error.detail()};
  }
}

// Reports the actions of an activation on a pair whose logs are sound.
void report_steps(Report& report, Area area, const std::string& name,
                  const std::array<FoundLog, 2>& found, const PairDecision& decision, bool fresh) {
  const FoundLog& other = found[1 - decision.active];
  if (decision.erase_other && other.written()) {
    if (other.has_end) {
      report.unfinished(
          area, name,
          fmt::format("a compaction from {} finished, but was not recorded", other.name),
          "erasing the copy that does not count");
    } else {
      report.unfinished(area, name, fmt::format("a compaction into {} did not finish", other.name),
                        "erasing what it wrote");
    }
  } else if ((decision.first_use || decision.erase_other) && !fresh) {
    report.unfinished(area, name, "it was made, but not used yet", "beginning its log");
  }
}

}  // namespace

Pair examine_pair(Report& report, Area area, const std::string& name,
                  const std::array<Mdc::Half, 2>& halves, PairUse use, bool fresh) {
  Pair pair;
  std::array<FoundLog, 2> found;
  for (unsigned i = 0; i < 2; ++i)
    found[i] = open_half(halves[i].location, pair.logs[i]);
  const PairDecision decision = decide_pair(found, use);
  pair.active = decision.active;
  if (decision.doubt.empty()) {
    report_steps(report, area, name, found, decision, fresh);
    return pair;
  }
  report.error(area, name, decision.doubt, kKeep);
  if (!found[0].damage.empty() && !found[1].damage.empty()) {
    report.error(area, name, fmt::format("{}: {}", found[1].name, found[1].damage), kKeep);
  }
  if (pair.log() == nullptr) pair.active = 1 - pair.active;
  return pair;
}

void examine_log(Report& report, const MlogLocation& location) {
  try {
    const auto log = Mlog::open(location, CompactionSemantics::off, OnDamage::report);
    if (log->opened().damage.empty()) return;
    // Only the owner knows whether it is one of a pair.
    const auto half = Mlog::open(location, CompactionSemantics::on, OnDamage::report);
    if (!half->opened().damage.empty()) {
      const bool is_half = half->stats().has_compaction_start;
      report.error(Area::content, location.name, (is_half ? half : log)->opened().damage, kKeep);
    } else if (!describe(*half).complete()) {
      report.note(Area::content, location.name, "a compaction by its owner did not finish",
                  "its owner finishes it when it opens the pair");
    }
  } catch (const Error& error) {
    report.error(Area::content, location.name, error.detail(), kKeep);
  }
}

}  // namespace mpool::check

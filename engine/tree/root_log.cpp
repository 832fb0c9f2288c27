#include "engine/tree/root_log.h"

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "engine/base/error.h"
#include "engine/base/size.h"

namespace mpool::names {
namespace {

// After a compaction live records fill at most this part of a log that could grow: so a byte of
// them is written again only after at least as many bytes were appended.
constexpr std::uint64_t kLiveDivisor = 2;
// Growth by less than this part of the capacity does not pay for the compaction.
constexpr std::uint64_t kMinGrowthDivisor = 8;
// Maximum wait of growth for space that is being discarded.
constexpr std::chrono::seconds kLogDiscardWait{2};

}  // namespace

std::uint64_t RootLog::capacity() const {
  return std::min(mdc_.capacity(), mdc_.inactive_capacity());
}

std::uint64_t RootLog::free_bytes() const {
  const SpaceUsage space = pool_.class_info(MediaClass::capacity).space;
  const std::uint64_t zones = std::uint64_t{space.free_usable} + space.free_spare + space.pending;
  return zones * pool_.zone_size(MediaClass::capacity);
}

// The capacity below which growth is not attempted.
std::uint64_t RootLog::least_growth() const {
  const std::uint64_t capacity = this->capacity();
  return capacity + std::max(pool_.zone_size(MediaClass::capacity), capacity / kMinGrowthDivisor);
}

bool RootLog::can_grow() const {
  const std::uint64_t free = free_bytes();
  const std::uint64_t refused_with = refused_with_;
  return free >= 2 * least_growth() && (refused_with == kNeverRefused || free > refused_with);
}

void RootLog::note_refused() {
  if (refused_with_.exchange(free_bytes()) != kNeverRefused) return;
  pool_.log().warn("pool {}: the root MDC of {} cannot grow: there is no room for two larger logs",
                   pool_.name(), format_size(capacity()));
}

std::uint64_t RootLog::possible_capacity() const {
  // The old logs are freed only after the new ones exist.
  return can_grow() ? free_bytes() / 2 : capacity();
}

std::optional<RootLog::Successors> RootLog::allocate_exactly(std::uint64_t wanted) {
  const Mdc::Stats stats = mdc_.stats();
  const std::array<std::uint64_t, 2> present = {mdc_.inactive_capacity(), mdc_.capacity()};
  Successors found;
  for (unsigned i = 0; i < 2; ++i) {
    if (present[i] >= wanted) continue;
    found[i] =
        pool_.allocate_successor(stats.ids[i == 0 ? 1 - stats.active : stats.active], wanted);
    if (found[i]) continue;
    if (found[0]) pool_.abandon_successor(*found[0]);
    return std::nullopt;
  }
  return found;
}

// Successors of `wanted` bytes, or of as many as there is space for; none when it is too little.
RootLog::Successors RootLog::allocate(std::uint64_t wanted) {
  const std::uint64_t capacity = this->capacity();
  const std::uint64_t least = least_growth();
  for (bool waited = false;;) {
    for (std::uint64_t bytes = wanted; bytes >= least; bytes = capacity + (bytes - capacity) / 2) {
      if (auto found = allocate_exactly(bytes)) {
        refused_with_ = kNeverRefused;
        return *found;
      }
    }
    if (waited || free_bytes() < 2 * least || !pool_.wait_for_discards(kLogDiscardWait)) break;
    waited = true;
  }
  note_refused();
  return {};
}

// False when nothing has changed: its MDC has no room for the record of it, or its zones cannot be
// read.
bool RootLog::replace_inactive(const ObjectRecord& successor) {
  bool recording = false;
  try {
    mdc_.replace_inactive(pool_.mlog_location(successor), [&](std::uint64_t generation) {
      recording = true;
      ObjectRecord record = successor;
      record.generation = generation;
      pool_.succeed(record);
    });
    return true;
  } catch (const Error& error) {
    if (recording && error.code() != ENOSPC) throw;
    pool_.log().warn("pool {}: a larger log for the root MDC: {}", pool_.name(), error.what());
    pool_.abandon_successor(successor);
    note_refused();
    return false;
  }
}

void RootLog::compact(std::uint64_t live, std::uint64_t needed,
                      const std::function<void(const Mdc::Append&)>& write_live) {
  const std::uint64_t before = capacity();
  std::uint64_t wanted = std::max(mdc_.capacity(), mdc_.inactive_capacity());
  while (live + needed > wanted / kLiveDivisor)
    wanted *= 2;
  Successors next;
  if (wanted > before && can_grow()) next = allocate(wanted);
  try {
    if (next[0] && !replace_inactive(*std::exchange(next[0], {}))) {
      if (next[1]) pool_.abandon_successor(*std::exchange(next[1], {}));
    }
    mdc_.compact(write_live);
  } catch (...) {
    if (next[1]) pool_.abandon_successor(*next[1]);
    throw;
  }
  if (next[1]) replace_inactive(*next[1]);
  if (const std::uint64_t after = capacity(); after > before) {
    pool_.log().info("pool {}: the root MDC grew from {} to {}", pool_.name(), format_size(before),
                     format_size(after));
  }
}

}  // namespace mpool::names

#include "engine/cache/reap_lists.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "engine/base/aligned_buffer.h"
#include "engine/base/bytes.h"

namespace mpool {

namespace {

constexpr std::array<unsigned, kAdviceCount> kWeights{1, 10, 100, 0};

unsigned weight_of(Advice advice) {
  return kWeights.at(static_cast<std::size_t>(advice));
}

}  // namespace

void ReapLists::add(std::shared_ptr<CachedChunk> chunk) {
  lists_[next_to_fill_].chunks.push_back({.chunk = std::move(chunk), .last_use = clock_.now()});
  next_to_fill_ = (next_to_fill_ + 1) % lists_.size();
  ++counts_.chunks;
  quiet_looks_ = 0;
}

void ReapLists::clear() {
  for (List& list : lists_)
    list = {};
  counts_.chunks = 0;
  counts_.resident = {};
  pressure_ = ReapPressure(policy_);
}

std::uint64_t ReapLists::resident() const {
  return std::accumulate(counts_.resident.begin(), counts_.resident.end(), std::uint64_t{0});
}

std::optional<Clock::Duration> ReapLists::look(const MemoryInfo& memory,
                                               const ReaperSettings& settings) {
  if (next_list_ == 0) {
    returned_ = round_evicted_ == 0 ? 0
                                    : std::min(1.0, static_cast<double>(round_returned_) /
                                                        static_cast<double>(round_evicted_));
    round_evicted_ = 0;
    round_returned_ = 0;
  }
  busy_ = false;
  List& list = lists_[next_list_];
  const Clock::Time end = clock_.now() + policy_.look_time;
  std::size_t kept = list.next;
  std::size_t seen = list.next;
  for (; seen < list.chunks.size() && clock_.now() < end; ++seen) {
    if (!observe(list.chunks[seen], settings)) continue;
    if (kept != seen) list.chunks[kept] = std::move(list.chunks[seen]);
    ++kept;
  }
  const bool whole = seen == list.chunks.size();
  list.chunks.erase(list.chunks.begin() + static_cast<std::ptrdiff_t>(kept),
                    list.chunks.begin() + static_cast<std::ptrdiff_t>(seen));
  list.next = whole ? 0 : kept;
  recount();
  const bool relaxed = !pressure_.evicts();
  pressure_.update(memory, resident() * kPageSize, settings, returned_);
  if (pressure_.evicts()) {
    busy_ = busy_ || relaxed;
    evict_idle(list);
    recount();
  }
  if (whole) next_list_ = (next_list_ + 1) % lists_.size();
  quiet_looks_ = busy_ || !whole ? 0 : quiet_looks_ + 1;
  return next_look(settings);
}

void ReapLists::recount() {
  counts_.chunks = 0;
  counts_.resident = {};
  for (const List& list : lists_) {
    counts_.chunks += list.chunks.size();
    for (const Tracked& tracked : list.chunks)
      counts_.resident.at(static_cast<std::size_t>(tracked.chunk->advice())) += tracked.resident;
  }
}

// False: the chunk is not tracked any more.
bool ReapLists::observe(Tracked& tracked, const ReaperSettings& settings) {
  const auto state = tracked.chunk->look();
  if (!state || (state->resident == 0 && !tracked.chunk->kept())) return false;
  const std::uint64_t grown = state->resident - std::min(state->resident, tracked.resident);
  if (grown > 0 || state->uses != tracked.uses) {
    note_use(tracked, grown);
  } else if (tracked.evicted > 0 &&
             clock_.now() - tracked.evicted_at >
                 settings.ttl * std::max(1u, weight_of(tracked.chunk->advice()))) {
    tracked.evicted = 0;
    tracked.grace = std::max(1u, tracked.grace / 2);
  }
  tracked.resident = state->resident;
  tracked.uses = state->uses;
  return true;
}

void ReapLists::note_use(Tracked& tracked, std::uint64_t grown) {
  busy_ = true;
  tracked.last_use = clock_.now();
  const std::uint64_t returned = std::min(grown, tracked.evicted);
  if (returned > 0 || tracked.probed)
    tracked.grace = std::min(tracked.grace * 2, policy_.max_grace);
  tracked.probed = false;
  tracked.evicted -= returned;
  counts_.over_evicted += returned;
  round_returned_ += returned;
}

bool ReapLists::is_idle(const Tracked& tracked) const {
  const Advice advice = tracked.chunk->advice();
  if (advice == Advice::pinned || tracked.resident == 0) return false;
  const Clock::Duration least = policy_.round * (tracked.grace - 1);
  return clock_.now() - tracked.last_use > std::max(pressure_.ttl() * weight_of(advice), least);
}

// The most idle first, until enough memory is free.
void ReapLists::evict_idle(List& list) {
  const Clock::Time end = clock_.now() + policy_.look_time;
  std::vector<Tracked*> idle;
  for (Tracked& tracked : list.chunks) {
    if (is_idle(tracked)) idle.push_back(&tracked);
  }
  std::ranges::sort(idle, {}, [](const Tracked* tracked) { return tracked->last_use; });
  std::uint64_t free = pressure_.free();
  for (Tracked* tracked : idle) {
    if (free > pressure_.high() || clock_.now() >= end) break;
    const std::uint64_t before = tracked->resident;
    evict(*tracked);
    free += (before - std::min(before, tracked->resident)) * kPageSize;
  }
}

void ReapLists::evict(Tracked& tracked) {
  const std::uint64_t length = tracked.chunk->length();
  const std::uint64_t part = std::min(length, round_up(length / policy_.probe_divisor, kPageSize));
  const bool probing = !tracked.probed && part < length;
  std::uint64_t offset = 0;
  if (probing) offset = random_() % policy_.probe_divisor * part;
  tracked.chunk->evict(std::min(offset, length - part), probing ? part : length);
  const auto state = tracked.chunk->look();
  const std::uint64_t left = state ? state->resident : 0;
  const std::uint64_t evicted = tracked.resident - std::min(left, tracked.resident);
  busy_ = true;
  counts_.evicted += evicted;
  round_evicted_ += evicted;
  tracked.resident = left;
  tracked.uses = state ? state->uses : tracked.uses;
  tracked.evicted += evicted;
  tracked.evicted_at = clock_.now();
  if (probing) {
    tracked.probed = true;
    return;
  }
  counts_.skipped += left;
  tracked.probed = false;
  // What stays is mapped: the next attempt comes later.
  tracked.last_use = clock_.now();
  if (evicted == 0) tracked.grace = std::min(tracked.grace * 2, policy_.max_grace);
}

std::optional<Clock::Duration> ReapLists::next_look(const ReaperSettings& settings) const {
  const Clock::Duration interval = Clock::Duration(policy_.round) / policy_.lists;
  if (quiet_looks_ <= policy_.lists) return interval;
  if (!pressure_.evicts()) return std::nullopt;
  return std::max<Clock::Duration>(interval, settings.ttl / policy_.lists);
}

}  // namespace mpool

#include "engine/pool/background.h"

#include <algorithm>
#include <cerrno>

#include "engine/base/error.h"
#include "engine/pool/pool_state.h"

namespace mpool {
namespace {

constexpr unsigned kLowPercent = 50;  // of free space: logged from here on down
constexpr unsigned kUsagePoints = 5;  // and logged again when it changed by this much

// This many MDCs have the zones of MDC1, the next as many have twice the zones, and so on.
constexpr std::size_t kMdcsOfASize = 32;

bool keeps_changes(const PoolState& pool) {
  const DeviceProperties& properties = pool.media_class(MediaClass::capacity).device().properties();
  return !properties.read_only && !properties.keeps_nothing;
}

bool gone_offline(const PoolState& pool) {
  return pool.media_class(MediaClass::capacity).device().offline();
}

// nullopt: no such space.
std::optional<unsigned> free_percent(MediaClassSpace* space) {
  const SpaceUsage usage = space != nullptr ? space->map().usage() : SpaceUsage{};
  if (usage.usable == 0) return std::nullopt;
  return static_cast<unsigned>(std::uint64_t{usage.free_usable} * 100 / usage.usable);
}

}  // namespace

bool UsageWatch::should_log(unsigned free_percent) {
  if (last_logged_ &&
      std::max(free_percent, *last_logged_) - std::min(free_percent, *last_logged_) <
          kUsagePoints) {
    return false;
  }
  if (free_percent >= kLowPercent) {
    last_logged_.reset();
    return false;
  }
  last_logged_ = free_percent;
  return true;
}

Background::Background(PoolState& pool, const Tunables::Maintenance& options)
    : pool_(pool), options_(options) {
  if (!keeps_changes(pool)) return;
  if (options.period.count() > 0) {
    mdcs_job_.emplace(pool.jobs, JobOptions{.name = "maintain-mdcs"},
                      [this](JobOrder order) { return take_step(order); });
  }
  if (options.usage_period.count() > 0) {
    space_job_.emplace(pool.jobs, JobOptions{.name = "watch-space", .priority = JobPriority::low},
                       [this](JobOrder order) {
                         if (order == JobOrder::work) watch_usage();
                         return JobStep{};
                       });
  }
}

// Each step may request both jobs.
Background::~Background() {
  stopping_ = true;
  if (mdcs_job_) mdcs_job_->stop();
  if (space_job_) space_job_->stop();
}

void Background::start() {
  bool low_on_space = false;
  for (std::size_t i = 0; i < kMediaClassCount; ++i)
    low_on_space |= free_percent(pool_.classes[i]).value_or(kLowPercent) < kLowPercent;
  if (low_on_space || has_work()) note_change();
}

void Background::note_change() {
  if (mdcs_job_) mdcs_job_->request(options_.period);
  if (space_job_) space_job_->request(options_.usage_period);
}

void Background::maintain() {
  {
    const std::lock_guard round(round_);
    next_slot_ = 0;
  }
  while (take_step(JobOrder::work).more) {
  }
}

// Compacts the next MDC that is worth it; then adds some.
JobStep Background::take_step(JobOrder order) {
  const std::lock_guard round(round_);
  std::size_t& next = next_slot_;
  try {
    while (order == JobOrder::work && next < pool_.slots.size() && !gone_offline(pool_)) {
      MdcSlot& slot = *pool_.slots[next++];
      if (!slot.compact_if(options_.compact_full, options_.compact_garbage)) continue;
      pool_.log().debug("{}: compacted in the background", slot.name());
      return {.more = true, .bytes = slot.used(), .done = next, .total = pool_.slots.size()};
    }
    if (order == JobOrder::work && !gone_offline(pool_) && filling_up() &&
        free_zones() > refused_with_.value_or(0)) {
      grow();
    }
  } catch (const std::exception& error) {
    pool_.log().error("{}: looking after its metadata containers failed: {}", pool_.subject,
                      error.what());
  }
  next = 0;
  return {};
}

bool Background::has_work() const {
  return filling_up() || std::ranges::any_of(pool_.slots, [this](const auto& slot) {
           return slot->is_worth_compacting(options_.compact_full, options_.compact_garbage);
         });
}

bool Background::add_room() {
  const std::lock_guard round(round_);
  return pool_.choice->choose() || grow();
}

// Of the device of the MDCs, those being discarded included.
std::uint64_t Background::free_zones() const {
  const SpaceUsage usage = pool_.media_class(MediaClass::capacity).map().usage();
  return std::uint64_t{usage.free_usable} + usage.free_spare + usage.pending;
}

bool Background::filling_up() const {
  std::uint64_t capacity = 0;
  std::uint64_t used = 0;
  std::uint64_t records = 0;
  std::uint64_t live = 0;
  for (std::size_t slot = 1; slot < pool_.slots.size(); ++slot) {
    const Pool::MdcStats stats = pool_.slots[slot]->stats();
    capacity += stats.capacity;
    used += stats.used;
    records += stats.records;
    live += std::min(stats.live_records, stats.records);
  }
  return used * 100 > capacity * options_.grow_full &&
         (records - live) * 100 < records * options_.grow_garbage;
}

// Adds one MDC, with more zones the more there are, so that the number of MDCs does not limit the
// objects; without room for that, with fewer zones, but not fewer than MDC1 has.
void Background::add_mdc() {
  const std::size_t doublings = (pool_.slots.size() - 1) / kMdcsOfASize;
  const auto model = pool_.slots.front()->table().find_committed(mdc_log_id(1, 0));
  const std::uint64_t least = model.value().layout.zone_count;
  std::uint64_t zones = std::min<std::uint64_t>(
      least << doublings, pool_.media_class(MediaClass::capacity).params().zone_count);
  for (;; zones /= 2) {
    try {
      return pool_.add_mdc(static_cast<std::uint32_t>(std::max(zones, least)));
    } catch (const Error& error) {
      if (error.code() != ENOSPC) throw;
      delete_lone_mlog();
      if (zones <= least) throw;
    }
  }
}

// True when there are more MDCs.
bool Background::grow() {
  const std::size_t before = pool_.slots.size();
  const std::size_t wanted = std::min<std::size_t>(before + options_.grow_by, kMaxMdcs + 1);
  try {
    while (pool_.slots.size() < wanted && !stopping_) {
      add_mdc();
      pool_.choice->grow(pool_.slots.size() - 1);
    }
    refused_with_.reset();
  } catch (const Error& error) {
    if (error.code() != ENOSPC) throw;
    if (!refused_with_) {
      pool_.log().warn(
          "{}: its metadata containers are filling up and there is no room for more: {}",
          pool_.subject, error.what());
    }
    refused_with_ = free_zones();
  }
  if (const std::size_t added = pool_.slots.size() - before; added > 0) {
    pool_.log().info("{}: its metadata containers were filling up, added {} to {}", pool_.subject,
                     added, before - 1);
  }
  return pool_.slots.size() > before;
}

// Deletes the remains of an MDC that could not be added.
void Background::delete_lone_mlog() {
  const ObjectTable& table = pool_.slots.front()->table();
  const auto next = static_cast<unsigned>(pool_.slots.size());
  const auto first = table.find_committed(mdc_log_id(next, 0));
  if (first && !table.find_committed(mdc_log_id(next, 1))) pool_.delete_lone_mlog(*first);
}

void Background::watch_usage() {
  for (std::size_t i = 0; i < kMediaClassCount; ++i) {
    const auto percent = free_percent(pool_.classes[i]);
    if (!percent || !usage_[i].should_log(*percent)) continue;
    pool_.log().info("{}: {} % of the usable space of the {} device {} are free", pool_.subject,
                     *percent, to_string(static_cast<MediaClass>(i)),
                     pool_.classes[i]->device().name());
  }
}

}  // namespace mpool

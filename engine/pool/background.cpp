#include "engine/pool/background.h"

#include <algorithm>
#include <cerrno>
#include <chrono>

#include <spdlog/spdlog.h>

#include "engine/base/error.h"
#include "engine/pool/pool_state.h"

namespace mpool {
namespace {

constexpr unsigned kLowPercent = 50;  // of free space: logged from here on down
constexpr unsigned kUsagePoints = 5;  // and logged again when it changed by this much

// This many MDCs have the zones of MDC1, the next as many have twice the zones, and so on.
constexpr std::size_t kMdcsOfASize = 32;

// A periodic action.
class Timer {
 public:
  Timer(const Clock& clock, std::chrono::milliseconds period) : clock_(clock), period_(period) {
    start();
  }

  Clock::Time due() const { return due_; }
  // True when the period has passed; begins the next one.
  bool expired() {
    if (clock_.now() < due_) return false;
    start();
    return true;
  }
  void stop() { due_ = Clock::Time::max(); }

 private:
  void start() {
    if (period_ <= period_.zero()) return stop();
    due_ = clock_.now() + std::min<std::chrono::milliseconds>(period_, std::chrono::hours(24));
  }

  const Clock& clock_;
  const std::chrono::milliseconds period_;
  Clock::Time due_;
};

bool keeps_changes(const PoolState& pool) {
  const DeviceProperties& properties = pool.media_class(MediaClass::capacity).device().properties();
  return !properties.read_only && !properties.keeps_nothing;
}

bool gone_offline(const PoolState& pool) {
  return pool.media_class(MediaClass::capacity).device().offline();
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

Background::Background(PoolState& pool, const Maintenance& options)
    : pool_(pool), options_(options) {
  const bool wanted = options.period.count() > 0 || options.usage_period.count() > 0;
  if (!wanted || !keeps_changes(pool)) return;
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

void Background::run(const std::stop_token& stop) {
  Clock& clock = *pool_.clock;
  Timer maintenance(clock, options_.period);
  Timer usage(clock, options_.usage_period);
  const std::stop_callback wake(stop, [this] {
    const std::lock_guard lock(sleep_);
    wake_.notify_all();
  });
  while (true) {
    {
      std::unique_lock lock(sleep_);
      clock.wait_until(wake_, lock, std::min(maintenance.due(), usage.due()),
                       [&] { return stop.stop_requested(); });
    }
    if (stop.stop_requested()) return;
    if (maintenance.expired() && !maintain(stop)) maintenance.stop();
    if (usage.expired()) watch_usage();
  }
}

bool Background::maintain(const std::stop_token& stop) {
  const std::lock_guard round(round_);
  if (gone_offline(pool_)) return false;
  try {
    compact(stop);
    if (filling_up()) grow(stop);
  } catch (const std::exception& error) {
    pool_.log().error("{}: looking after its metadata containers failed: {}", pool_.subject,
                      error.what());
  }
  return !gone_offline(pool_);
}

void Background::compact(const std::stop_token& stop) {
  for (const auto& slot : pool_.slots) {
    if (stop.stop_requested()) return;
    if (slot->compact_if(options_.compact_full, options_.compact_garbage)) {
      pool_.log().debug("{}: compacted in the background", slot->name());
    }
  }
}

bool Background::add_room() {
  const std::lock_guard round(round_);
  return pool_.choice->choose() || grow(std::stop_token());
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
bool Background::grow(const std::stop_token& stop) {
  const std::size_t before = pool_.slots.size();
  const std::size_t wanted = std::min<std::size_t>(before + options_.grow_by, kMaxMdcs + 1);
  try {
    while (pool_.slots.size() < wanted && !stop.stop_requested()) {
      add_mdc();
      pool_.choice->grow(pool_.slots.size() - 1);
    }
    cannot_grow_ = false;
  } catch (const Error& error) {
    if (error.code() != ENOSPC) throw;
    if (!cannot_grow_) {
      pool_.log().warn(
          "{}: its metadata containers are filling up and there is no room for more: {}",
          pool_.subject, error.what());
    }
    cannot_grow_ = true;
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
    MediaClassSpace* space = pool_.classes[i];
    if (space == nullptr) continue;
    const SpaceUsage usage = space->map().usage();
    if (usage.usable == 0) continue;
    const auto percent =
        static_cast<unsigned>(std::uint64_t{usage.free_usable} * 100 / usage.usable);
    if (!usage_[i].should_log(percent)) continue;
    pool_.log().info("{}: {} % of the usable space of the {} device {} are free", pool_.subject,
                     percent, to_string(static_cast<MediaClass>(i)), space->device().name());
  }
}

}  // namespace mpool

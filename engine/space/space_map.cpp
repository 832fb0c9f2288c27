#include "engine/space/space_map.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/error.h"
#include "engine/space/run_tree.h"
#include "engine/space/space_account.h"

namespace mpool {

namespace {

// Zones base..base+free.size() of the device.
struct Region {
  Region(std::uint64_t base_zone, std::uint32_t size)
      : base(base_zone), free(size), pending(size, false) {
    free.set(0, size);
  }

  // The first aligned place at or after `from` (both counted in the region) with `count` free
  // zones.
  std::optional<std::uint32_t> find(std::uint32_t count, std::uint32_t alignment,
                                    std::uint32_t from) const {
    while (const auto at = free.find(count, from)) {
      const std::uint64_t aligned = round_up(base + *at, alignment) - base;
      if (aligned == *at) return at;
      if (aligned + count > free.size()) break;
      from = static_cast<std::uint32_t>(aligned);
    }
    return std::nullopt;
  }

  const std::uint64_t base;
  std::mutex mutex;
  RunTree free;
  std::vector<bool> pending;
};

}  // namespace

struct SpaceMap::Impl {
  // Part of a range that lies in one region, counted there.
  struct Part {
    Region& region;
    std::uint32_t first, last;
  };

  // Holds the locks of neighbouring regions, taken in ascending order.
  class Lock {
   public:
    Lock(Impl& impl, std::size_t first, std::size_t last) : impl_(impl), first_(first) {
      for (last_ = first; last_ <= last; ++last_)
        impl_.regions[last_]->mutex.lock();
    }
    ~Lock() {
      while (last_ > first_)
        impl_.regions[--last_]->mutex.unlock();
    }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    Impl& impl_;
    std::size_t first_, last_;
  };

  Impl(std::string device, std::uint32_t zone_count, unsigned spare_percent, unsigned region_count)
      : name(std::move(device)), zones(zone_count), account(zone_count, spare_percent) {
    const std::uint64_t count = std::clamp<std::uint64_t>(region_count, 1, zone_count);
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t base = zone_count * i / count;
      const std::uint64_t end = zone_count * (i + 1) / count;
      regions.push_back(std::make_unique<Region>(base, static_cast<std::uint32_t>(end - base)));
    }
  }

  bool in_range(std::uint64_t first, std::uint32_t count) const {
    const std::uint64_t total = zones.load(std::memory_order_acquire);
    return count > 0 && first < total && count <= total - first;
  }

  std::size_t region_of(std::uint64_t zone) const {
    const auto after = std::ranges::upper_bound(regions, zone, {},
                                                [](const auto& region) { return region->base; });
    return static_cast<std::size_t>(after - regions.begin()) - 1;
  }

  // Calls use(Part) for every region that the range touches; their locks are held.
  template <typename Use>
  void for_each_part(std::uint64_t first, std::uint32_t count, Use use) {
    const std::uint64_t end = first + count;
    for (std::size_t i = region_of(first); first < end; ++i) {
      Region& region = *regions[i];
      const std::uint64_t last = std::min(end, region.base + region.free.size());
      use(Part{.region = region,
               .first = static_cast<std::uint32_t>(first - region.base),
               .last = static_cast<std::uint32_t>(last - region.base)});
      first = last;
    }
  }

  bool all_free(std::uint64_t first, std::uint32_t count) {
    bool result = true;
    for_each_part(first, count, [&](const Part& part) {
      result = result && part.region.free.all_set(part.first, part.last);
    });
    return result;
  }

  // Used: neither free nor pending.
  bool all_used(std::uint64_t first, std::uint32_t count) {
    bool result = true;
    for_each_part(first, count, [&](const Part& part) {
      result = result && part.region.free.all_clear(part.first, part.last);
      for (auto i = part.first; result && i < part.last; ++i)
        result = !part.region.pending[i];
    });
    return result;
  }

  bool all_pending(std::uint64_t first, std::uint32_t count) {
    bool result = true;
    for_each_part(first, count, [&](const Part& part) {
      for (auto i = part.first; result && i < part.last; ++i)
        result = part.region.pending[i];
    });
    return result;
  }

  void mark_pending(std::uint64_t first, std::uint32_t count, bool value) {
    for_each_part(first, count, [&](const Part& part) {
      std::fill(part.region.pending.begin() + part.first, part.region.pending.begin() + part.last,
                value);
    });
  }

  void mark_used(std::uint64_t first, std::uint32_t count) {
    for_each_part(first, count,
                  [](const Part& part) { part.region.free.clear(part.first, part.last); });
  }

  void mark_free(std::uint64_t first, std::uint32_t count) {
    for_each_part(first, count,
                  [](const Part& part) { part.region.free.set(part.first, part.last); });
  }

  std::optional<std::uint64_t> allocate_in(std::size_t index, std::uint32_t count,
                                           SpacePolicy policy, std::uint32_t alignment,
                                           std::uint64_t from);
  std::optional<std::uint64_t> allocate_anywhere(std::uint32_t count, SpacePolicy policy,
                                                 std::uint32_t alignment);
  std::optional<std::uint64_t> find_anywhere(std::uint32_t count, std::uint32_t alignment) const;

  const std::string name;
  std::atomic<std::uint32_t> zones;  // grows under the lock of the last region
  SpaceAccount account;              // changed under the locks of the regions concerned
  std::vector<std::unique_ptr<Region>> regions;
  std::atomic<std::uint32_t> next_region = 0;
};

// The charge is made while other threads cannot take the run found. So it never has to be undone,
// and no other allocation fails because of a charge that is later undone.
std::optional<std::uint64_t> SpaceMap::Impl::allocate_in(std::size_t index, std::uint32_t count,
                                                         SpacePolicy policy,
                                                         std::uint32_t alignment,
                                                         std::uint64_t from) {
  Region& region = *regions[index];
  const std::lock_guard lock(region.mutex);
  const auto at = region.find(count, alignment, static_cast<std::uint32_t>(from - region.base));
  if (!at || !account.charge(count, policy)) return std::nullopt;
  region.free.clear(*at, *at + count);
  return region.base + *at;
}

std::optional<std::uint64_t> SpaceMap::Impl::allocate_anywhere(std::uint32_t count,
                                                               SpacePolicy policy,
                                                               std::uint32_t alignment) {
  const Lock lock(*this, 0, regions.size() - 1);
  const auto zone = find_anywhere(count, alignment);
  if (!zone || !account.charge(count, policy)) return std::nullopt;
  mark_used(*zone, count);
  return zone;
}

// First fit over all regions as one, whose locks are held.
std::optional<std::uint64_t> SpaceMap::Impl::find_anywhere(std::uint32_t count,
                                                           std::uint32_t alignment) const {
  std::uint64_t run = 0;  // start of the free run at the end of the regions so far
  for (const auto& region : regions) {
    const std::uint64_t across = round_up(run, alignment);
    if (across + count <= region->base + region->free.prefix()) return across;
    if (const auto at = region->find(count, alignment, 0)) return region->base + *at;
    const std::uint32_t size = region->free.size();
    if (region->free.prefix() != size) run = region->base + size - region->free.suffix();
  }
  return std::nullopt;
}

SpaceMap::SpaceMap(std::string name, std::uint32_t zones, unsigned spare_percent,
                   unsigned regions) {
  if (zones == 0) raise(EINVAL, std::move(name), "a space map needs at least one zone");
  impl_ = std::make_unique<Impl>(std::move(name), zones, spare_percent, regions);
}

SpaceMap::~SpaceMap() = default;

void SpaceMap::insert(std::uint64_t first_zone, std::uint32_t count) {
  Impl& impl = *impl_;
  if (!impl.in_range(first_zone, count)) {
    raise(ENOTRECOVERABLE, impl.name, "{} zones from zone {} on: the device has zones 0 to {}",
          count, first_zone, impl.zones.load() - 1);
  }
  const Impl::Lock lock(impl, impl.region_of(first_zone), impl.region_of(first_zone + count - 1));
  if (!impl.all_free(first_zone, count)) {
    raise(ENOTRECOVERABLE, impl.name,
          "{} zones from zone {} on: some of them belong to another object already", count,
          first_zone);
  }
  impl.account.charge_loaded(count);
  impl.mark_used(first_zone, count);
}

std::optional<std::uint64_t> SpaceMap::allocate(std::uint32_t count, SpacePolicy policy,
                                                std::uint32_t alignment,
                                                std::optional<std::uint64_t> near) {
  Impl& impl = *impl_;
  if (count == 0 || !std::has_single_bit(alignment)) {
    raise(EINVAL, impl.name, "allocation of {} zones with alignment {}", count, alignment);
  }
  if (!impl.account.has_room(count, policy)) return std::nullopt;
  const std::size_t regions = impl.regions.size();
  std::size_t start = 0;
  if (near && *near < impl.zones.load(std::memory_order_acquire)) {
    const std::size_t home = impl.region_of(*near);
    if (auto zone = impl.allocate_in(home, count, policy, alignment, *near)) return zone;
    start = home + 1;
  } else {
    start = impl.next_region.fetch_add(1, std::memory_order_relaxed);
  }
  for (std::size_t i = 0; i < regions; ++i) {
    const std::size_t index = (start + i) % regions;
    const std::uint64_t from = impl.regions[index]->base;
    if (auto zone = impl.allocate_in(index, count, policy, alignment, from)) return zone;
  }
  return impl.allocate_anywhere(count, policy, alignment);
}

void SpaceMap::retire(std::uint64_t first_zone, std::uint32_t count) {
  Impl& impl = *impl_;
  if (!impl.in_range(first_zone, count)) {
    raise(EINVAL, impl.name, "retiring {} zones from zone {} on: out of range", count, first_zone);
  }
  const Impl::Lock lock(impl, impl.region_of(first_zone), impl.region_of(first_zone + count - 1));
  if (!impl.all_used(first_zone, count)) {
    raise(EINVAL, impl.name, "retiring {} zones from zone {} on: not all in use", count,
          first_zone);
  }
  impl.mark_pending(first_zone, count, true);
  impl.account.retire(count);
}

void SpaceMap::release(std::uint64_t first_zone, std::uint32_t count) {
  Impl& impl = *impl_;
  if (!impl.in_range(first_zone, count)) {
    raise(EINVAL, impl.name, "releasing {} zones from zone {} on: out of range", count, first_zone);
  }
  const Impl::Lock lock(impl, impl.region_of(first_zone), impl.region_of(first_zone + count - 1));
  if (!impl.all_pending(first_zone, count)) {
    raise(EINVAL, impl.name, "releasing {} zones from zone {} on: not all retired before", count,
          first_zone);
  }
  impl.mark_pending(first_zone, count, false);
  impl.mark_free(first_zone, count);
  impl.account.release(count);
}

void SpaceMap::set_spare_percent(unsigned percent) {
  impl_->account.set_spare_percent(percent);
}

void SpaceMap::grow(std::uint32_t zones) {
  Impl& impl = *impl_;
  Region& region = *impl.regions.back();
  const std::lock_guard lock(region.mutex);
  const std::uint32_t before = impl.zones.load(std::memory_order_relaxed);
  if (zones < before) raise(EINVAL, impl.name, "{} zones are less than {}", zones, before);
  const std::uint32_t old_size = region.free.size();
  const auto size = static_cast<std::uint32_t>(zones - region.base);
  region.pending.resize(size, false);
  region.free.resize(size);
  region.free.set(old_size, size);
  impl.account.set_total(zones);
  impl.zones.store(zones, std::memory_order_release);
}

SpaceUsage SpaceMap::usage() const {
  return impl_->account.usage();
}

unsigned SpaceMap::spare_percent() const {
  return impl_->account.spare_percent();
}

}  // namespace mpool

// Activating a pool.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <exception>
#include <thread>

#include "engine/base/error.h"
#include "engine/pool/discovery.h"
#include "engine/pool/load.h"
#include "engine/pool/pool_state.h"

namespace mpool {
namespace {

struct Member {
  Device* device = nullptr;
  Superblock superblock;
  // The first copy is no superblock while the second is valid: adding a device writes the first
  // last.
  bool first_copy_missing = false;
  // In the name or the device's parameters: writing them was interrupted.
  bool copies_differ = false;
};
using Members = std::array<std::optional<Member>, kMediaClassCount>;

bool same_device(const Superblock& a, const Superblock& b) {
  return a.pool_uuid == b.pool_uuid && a.device.uuid == b.device.uuid;
}

Member examine(Device& device) {
  const SuperblockPair pair = read_superblocks(device);
  if (!pair.chosen) {
    raise(EBADMSG, device.name(), "no good superblock: superblock 0: {}; superblock 1: {}",
          pair.faults[0], pair.faults[1]);
  }
  if (pair.mdc0_ambiguous) {
    raise(EBADMSG, device.name(),
          "the superblocks of pool {} disagree about the place of MDC0, and which is right cannot "
          "be told; "
          "nothing was written",
          pair.chosen->pool_name);
  }
  if (pair.needs_repair) {
    for (std::size_t i = 0; i < pair.faults.size(); ++i) {
      if (!pair.faults[i].empty()) {
        device.log().warn("{}: superblock {} is bad, using the other: {}", device.name(), i,
                          pair.faults[i]);
      }
    }
  }
  const DeviceParams& params = pair.chosen->device;
  if (device.properties().size < params.device_size) {
    raise(EINVAL, device.name(), "has {} bytes, pool {} was made on {}", device.properties().size,
          pair.chosen->pool_name, params.device_size);
  }
  const auto& [first, second] = pair.copies;
  Member member{.device = &device, .superblock = *pair.chosen};
  member.first_copy_missing = !first;
  member.copies_differ = first && second && same_device(first->superblock, second->superblock) &&
                         (first->superblock.pool_name != second->superblock.pool_name ||
                          first->superblock.device != second->superblock.device);
  return member;
}

Members examine_all(const std::vector<std::unique_ptr<Device>>& devices) {
  if (devices.empty()) raise(EINVAL, "pool", "no device was given");
  Members members;
  const Member* first = nullptr;
  for (const auto& device : devices) {
    Member member = examine(*device);
    if (first != nullptr && member.superblock.pool_uuid != first->superblock.pool_uuid) {
      raise(EINVAL, device->name(), "belongs to pool {} ({}), but {} to pool {} ({})",
            member.superblock.pool_name, member.superblock.pool_uuid.to_string(),
            first->device->name(), first->superblock.pool_name,
            first->superblock.pool_uuid.to_string());
    }
    auto& place = members[index_of(member.superblock.device.media_class)];
    if (place) {
      raise(EINVAL, device->name(), "is a second {} device of pool {} beside {}",
            to_string(member.superblock.device.media_class), member.superblock.pool_name,
            place->device->name());
    }
    place = std::move(member);
    if (first == nullptr) first = &*place;
  }
  if (!members[index_of(MediaClass::capacity)]) {
    raise(ENODEV, "pool " + first->superblock.pool_name, "its capacity device is missing");
  }
  return members;
}

void check_mdc0_place(const Superblock& superblock, const std::string& device) {
  const DeviceParams& params = superblock.device;
  for (const auto& half : superblock.mdc0->halves) {
    const auto [count, first] = half.layout;
    if (half.device_uuid != params.uuid || count == 0 || first < params.superblock_zones() ||
        first >= params.zone_count || count > params.zone_count - first) {
      raise(ENOTRECOVERABLE, device,
            "superblock: MDC0 is said to be in {} zones from zone {} of device {}; this is device "
            "{} with {} zones",
            count, first, half.device_uuid.to_string(), params.uuid.to_string(), params.zone_count);
    }
  }
}

bool same_kind(const DeviceParams& a, const DeviceParams& b) {
  return a.uuid == b.uuid && a.sector_shift == b.sector_shift && a.zone_pages == b.zone_pages;
}

bool has_grown(const DeviceParams& before, const DeviceParams& after) {
  return same_kind(before, after) && after.zone_count > before.zone_count &&
         after.device_size > before.device_size;
}

[[noreturn]] void refuse_device(const PoolState& pool, const Member& member,
                                const DeviceParams& recorded) {
  const DeviceParams& params = member.superblock.device;
  raise(EINVAL, pool.subject,
        "{} {}: its superblock says device {}, {} zones of {} bytes, sectors of {}; MDC0 says "
        "device {}, {} zones of {} bytes, sectors of {}",
        to_string(params.media_class), member.device->name(), params.uuid.to_string(),
        params.zone_count, params.zone_size(), params.sector_size(), recorded.uuid.to_string(),
        recorded.zone_count, recorded.zone_size(), recorded.sector_size());
}

// MDC0 and the superblock of a device must agree, except that one of them may not show yet that the
// device grew: grow() updates MDC0 first; another program may update the superblock first.
void check_recorded(const PoolState& pool, const Member& member, const DeviceParams& recorded) {
  const DeviceParams& params = member.superblock.device;
  const bool grown = has_grown(params, recorded) || has_grown(recorded, params);
  if (!grown && (!same_kind(params, recorded) || params.zone_count != recorded.zone_count ||
                 params.device_size != recorded.device_size)) {
    refuse_device(pool, member, recorded);
  }
  if (member.device->size() < recorded.device_size) {
    raise(EINVAL, member.device->name(), "has {} bytes, {} grew on it to {}", member.device->size(),
          pool.subject, recorded.device_size);
  }
}

// A device with a superblock of the pool that MDC0 does not know. mpoolfs writes the first copy
// only after MDC0's record; a device from an interrupted addition by another program cannot be
// distinguished from a removed device.
void check_half_added(const PoolState& pool, const Member& member) {
  const MediaClass media_class = member.superblock.device.media_class;
  if (media_class == MediaClass::staging && member.first_copy_missing) return;
  raise(ENXIO, pool.subject,
        "MDC0 has no MCCONFIG record of the {} device {}: adding it was interrupted; the pool is "
        "whole without it, and it can be added again",
        to_string(media_class), member.device->name());
}

// Compares the device parameters in MDC0 with those in the superblocks. Writes nothing; the
// properties get the values that are valid after unfinished changes are finished.
UnfinishedChanges check_devices(PoolState& pool, const Members& members, bool force) {
  UnfinishedChanges unfinished;
  const std::string& name = members[index_of(MediaClass::capacity)]->superblock.pool_name;
  for (std::size_t i = 0; i < kMediaClassCount; ++i) {
    auto& recorded = pool.properties.devices[i];
    const auto& member = members[i];
    if (!member) {
      if (!recorded) continue;
      const auto class_name = to_string(static_cast<MediaClass>(i));
      if (!force) raise(ENODEV, pool.subject, "its {} device is missing", class_name);
      pool.log().warn("{}: activated without its {} device", pool.subject, class_name);
      continue;
    }
    const DeviceParams& params = member->superblock.device;
    if (!recorded) {
      check_half_added(pool, *member);
    } else {
      check_recorded(pool, *member, *recorded);
    }
    const bool superblock_is_behind = recorded && has_grown(params, *recorded);
    if (!recorded || has_grown(*recorded, params)) recorded = unfinished.records[i] = params;
    const bool half_added = params.media_class == MediaClass::staging && member->first_copy_missing;
    unfinished.superblocks[i] = half_added || superblock_is_behind || member->copies_differ ||
                                member->superblock.pool_name != name;
  }
  return unfinished;
}

void open_and_load(PoolState& pool, std::size_t number, PairUse use) {
  MdcSlot& slot = *pool.slots[number];
  try {
    pool.open_slot(slot, use);
  } catch (const Error& error) {
    if (pool.on_damage == OnDamage::refuse) throw;
    pool.report_damage(slot.name(), error.what());
    slot.attach_nothing();
  }
  load_slot(pool, slot);
}

// Opens and reads MDC1..N, several at a time. Throws the first error.
void load_slots(PoolState& pool, unsigned jobs) {
  std::atomic<std::size_t> next = 1;
  // Creating a pool ends with MPCONFIG and the root mlogs. Without both, the last MDC may be new.
  const std::size_t last = pool.slots.size() - 1;
  std::size_t may_be_new = pool.properties.config ? 0 : last;
  if (may_be_new > 1) {
    open_and_load(pool, next++, PairUse::unknown);
    if (pool.has_root_mlogs()) may_be_new = 0;
  }
  std::atomic<bool> failed = false;
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    for (std::size_t slot; !failed && (slot = next.fetch_add(1)) <= last;) {
      try {
        open_and_load(pool, slot, slot == may_be_new ? PairUse::unused : PairUse::unknown);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (failure == nullptr) failure = std::current_exception();
        failed = true;
      }
    }
  };
  {
    const std::size_t threads = std::clamp<std::size_t>(jobs, 1, pool.slots.size());
    std::vector<std::jthread> workers;
    for (std::size_t i = 1; i < threads; ++i)
      workers.emplace_back(work);
    work();
  }
  if (failure != nullptr) std::rethrow_exception(failure);
}

// Reads MDC0..N; writes nothing. `lone`: as of count_pairs().
void load_all(PoolState& pool, unsigned jobs, std::optional<ObjectRecord>& lone) {
  try {
    load_slot(pool, *pool.slots.front());
    for (const unsigned pairs = pool.count_pairs(lone); pool.slots.size() <= pairs;)
      pool.add_slot();
    load_slots(pool, jobs);
  } catch (const Error&) {
    if (const std::string overlap = find_overlap(pool); !overlap.empty()) {
      pool.report_damage(pool.subject, overlap);
    }
    throw;
  }
  pool.check_creation();
}

// Data written by a killed program may be in the cache of a device only; content on which decisions
// are based must not disappear later.
void make_durable(const PoolState& pool) {
  for (std::size_t i = 0; i < kMediaClassCount; ++i) {
    if (pool.classes[i] == nullptr) continue;
    Device& device = pool.classes[i]->device();
    if (!device.properties().read_only) device.flush();
  }
}

void open_mdc0(PoolState& pool) {
  pool.add_slot();
  try {
    pool.open_mdc0(PairUse::unknown);
  } catch (const Error& error) {
    if (error.code() != ENXIO) throw;
    raise(ENXIO, error.subject(),
          "there is nothing in its logs: creating the pool was interrupted, or their first blocks "
          "are lost ({}); nothing was written",
          error.detail());
  }
}

void require_overlays(const std::vector<std::unique_ptr<Device>>& devices) {
  for (const auto& device : devices) {
    if (!device->properties().keeps_nothing) {
      raise(EINVAL, device->name(), "cannot go on with a damaged pool on a device that is written");
    }
  }
}

}  // namespace

std::unique_ptr<Pool> Pool::activate(std::vector<std::unique_ptr<Device>> devices,
                                     const ActivateOptions& options) {
  if (options.on_damage == OnDamage::report) require_overlays(devices);
  for (const auto& device : devices) {
    device->set_logger(options.logger);
    device->set_clock(*options.clock);
  }
  const Members members = examine_all(devices);
  const Member& capacity = *members[index_of(MediaClass::capacity)];
  check_mdc0_place(capacity.superblock, capacity.device->name());

  auto pool = std::make_unique<Impl>(*capacity.device, capacity.superblock, true, *options.clock,
                                     options.tunables);
  pool->logger = options.logger;
  pool->owned = std::move(devices);
  pool->on_damage = options.on_damage;
  for (std::size_t i = 0; i < kMediaClassCount; ++i) {
    if (!members[i]) continue;
    pool->classes.add(std::make_unique<MediaClassSpace>(
        *members[i]->device, members[i]->superblock.device, SpaceMap::kDefaultSparePercent,
        pool->jobs, pool->tunables.discards));
    pool->show_in_metrics(*members[i]->device, members[i]->superblock.device.media_class);
  }
  SpaceMap& capacity_map = pool->classes[index_of(MediaClass::capacity)]->map();
  for (const auto& half : capacity.superblock.mdc0->halves) {
    capacity_map.insert(half.layout.first_zone, half.layout.zone_count);
  }

  make_durable(*pool);
  open_mdc0(*pool);
  pool->properties = read_properties(*pool);
  const UnfinishedChanges unfinished = check_devices(*pool, members, options.force);
  for (std::size_t i = 0; i < kMediaClassCount; ++i) {
    if (pool->classes[i] == nullptr) continue;
    const DeviceParams& params = *pool->properties.devices[i];
    if (has_grown(pool->classes[i]->params(), params)) pool->classes[i]->grow(params);
    if (const auto& spare = pool->properties.spares[i]) {
      pool->classes[i]->map().set_spare_percent(*spare);
    }
  }

  std::optional<ObjectRecord> lone;
  load_all(*pool, options.load_jobs, lone);
  // Nothing was written so far.
  if (pool->damage.empty()) {
    for (const auto& slot : pool->slots)
      slot->finish();
    if (lone) pool->delete_lone_mlog(*lone);
    pool->complete_creation(options.mdc_count);
    pool->finish_changes(unfinished);
  }
  pool->choice.emplace(pool->slots.size() - 1, [state = pool.get()](std::size_t index) {
    return state->slots[index + 1]->room();
  });
  pool->background = std::make_unique<Background>(*pool, options.tunables.maintenance);
  pool->background->start();
  return std::unique_ptr<Pool>(new Pool(std::move(pool)));
}

}  // namespace mpool

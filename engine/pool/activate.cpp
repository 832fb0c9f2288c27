// Activating a pool.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <exception>
#include <thread>

#include <spdlog/spdlog.h>

#include "engine/base/error.h"
#include "engine/pool/discovery.h"
#include "engine/pool/load.h"
#include "engine/pool/pool_state.h"

namespace mpool {
namespace {

struct Member {
  Device* device = nullptr;
  Superblock superblock;
};
using Members = std::array<std::optional<Member>, kMediaClassCount>;

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
        spdlog::warn("{}: superblock {} is bad, using the other: {}", device.name(), i,
                     pair.faults[i]);
      }
    }
  }
  const DeviceParams& params = pair.chosen->device;
  if (device.properties().size < params.device_size) {
    raise(EINVAL, device.name(), "has {} bytes, pool {} was made on {}", device.properties().size,
          pair.chosen->pool_name, params.device_size);
  }
  return {&device, *pair.chosen};
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

// Compares what MDC0 says about the devices with what their superblocks say.
void check_devices(const PoolState& pool, const Members& members, bool force) {
  for (std::size_t i = 0; i < kMediaClassCount; ++i) {
    const auto& recorded = pool.properties.devices[i];
    const auto& member = members[i];
    const auto class_name = to_string(static_cast<MediaClass>(i));
    if (!recorded && member) {
      raise(ENXIO, pool.subject,
            "MDC0 has no MCCONFIG record of the {} device {}: adding it was interrupted",
            class_name, member->device->name());
    }
    if (recorded && !member) {
      if (!force) raise(ENODEV, pool.subject, "its {} device is missing", class_name);
      spdlog::warn("{}: activated without its {} device", pool.subject, class_name);
    }
    if (!recorded || !member) continue;
    const DeviceParams& params = member->superblock.device;
    if (recorded->uuid != params.uuid || recorded->sector_shift != params.sector_shift ||
        recorded->zone_pages != params.zone_pages || recorded->zone_count != params.zone_count ||
        recorded->device_size != params.device_size) {
      raise(EINVAL, pool.subject,
            "{} {}: its superblock says device {}, {} zones of {} bytes, sectors of {}; MDC0 says "
            "device {}, "
            "{} zones of {} bytes, sectors of {}",
            class_name, member->device->name(), params.uuid.to_string(), params.zone_count,
            params.zone_size(), params.sector_size(), recorded->uuid.to_string(),
            recorded->zone_count, recorded->zone_size(), recorded->sector_size());
    }
  }
}

// Opens and reads MDC1..N, several at a time. The first error is thrown.
void load_slots(PoolState& pool, unsigned jobs) {
  std::atomic<std::size_t> next = 1;
  std::atomic<bool> failed = false;
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    for (std::size_t slot; !failed && (slot = next.fetch_add(1)) < pool.slots.size();) {
      try {
        pool.open_slot(static_cast<unsigned>(slot));
        load_slot(pool, *pool.slots[slot]);
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
  if (failure == nullptr) return;
  if (const std::string overlap = find_overlap(pool); !overlap.empty()) {
    raise(ENOTRECOVERABLE, pool.subject, "{}", overlap);
  }
  std::rethrow_exception(failure);
}

}  // namespace

std::unique_ptr<Pool> Pool::activate(std::vector<std::unique_ptr<Device>> devices,
                                     const ActivateOptions& options) {
  const Members members = examine_all(devices);
  const Member& capacity = *members[index_of(MediaClass::capacity)];
  check_mdc0_place(capacity.superblock, capacity.device->name());

  auto pool = std::make_unique<Impl>(*capacity.device, capacity.superblock, true);
  pool->owned = std::move(devices);
  for (std::size_t i = 0; i < kMediaClassCount; ++i) {
    if (!members[i]) continue;
    pool->classes[i] = std::make_unique<MediaClassSpace>(
        *members[i]->device, members[i]->superblock.device, SpaceMap::kDefaultSparePercent);
  }
  SpaceMap& capacity_map = pool->classes[index_of(MediaClass::capacity)]->map();
  for (const auto& half : capacity.superblock.mdc0->halves) {
    capacity_map.insert(half.layout.first_zone, half.layout.zone_count);
  }

  pool->properties = read_properties(*pool);
  check_devices(*pool, members, options.force);
  for (std::size_t i = 0; i < kMediaClassCount; ++i) {
    const auto& spare = pool->properties.spares[i];
    if (spare && pool->classes[i] != nullptr) pool->classes[i]->map().set_spare_percent(*spare);
  }

  pool->add_slot();
  pool->open_mdc0();
  try {
    load_slot(*pool, *pool->slots.front());
  } catch (const Error&) {
    if (const std::string overlap = find_overlap(*pool); !overlap.empty()) {
      raise(ENOTRECOVERABLE, pool->subject, "{}", overlap);
    }
    throw;
  }
  for (unsigned pairs = pool->settle_pairs(); pool->slots.size() <= pairs;)
    pool->add_slot();
  load_slots(*pool, options.load_jobs);
  pool->complete_creation(options.mdc_count);
  pool->choice.emplace(pool->slots.size() - 1, [state = pool.get()](std::size_t index) {
    return state->slots[index + 1]->room();
  });
  return std::unique_ptr<Pool>(new Pool(std::move(pool)));
}

}  // namespace mpool

// Making a pool (engine/format/README.md, "Creating a pool").
//
// Everything is written before the superblocks, which come last: a crash leaves no pool at all.
#include <algorithm>
#include <cerrno>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/size.h"
#include "engine/pool/defaults.h"
#include "engine/pool/pool_state.h"
#include "engine/pool/settings.h"

namespace mpool {
namespace {

void check_options(const CreateOptions& options) {
  check_pool_name(options.name);
  const std::string subject = "pool " + options.name;
  if (options.zone_size) check_zone_size(subject, *options.zone_size);
  if (options.mdc_count && (*options.mdc_count < 1 || *options.mdc_count > kMaxMdcs)) {
    raise(EINVAL, subject, "MDC count {} is not between 1 and {}", *options.mdc_count, kMaxMdcs);
  }
  check_spare_percent(subject, options.spare_percent);
  check_label(subject, options.label);
  check_mode(subject, options.mode);
}

// The layout of the capacity device. Counts in zones; 64 bits wide, so that sums do not overflow.
struct Plan {
  DeviceParams capacity;
  unsigned mdc_count = 0;
  std::uint64_t mdc0_zones = 0;
  std::uint64_t mdc_zones = 0;
  std::uint64_t root_zones = 0;

  std::uint64_t zones() const {
    return capacity.superblock_zones() + 2 * (mdc0_zones + mdc_count * mdc_zones + root_zones);
  }
  // True if the pool, and one object, fit on a device of that many zones.
  bool fits(std::uint64_t zone_count) const;
};

bool Plan::fits(std::uint64_t zone_count) const {
  if (zones() >= zone_count) return false;
  const auto total = static_cast<std::uint32_t>(zone_count);
  SpaceMap map("plan", total, 0);
  map.insert(0, static_cast<std::uint32_t>(capacity.superblock_zones() + 2 * mdc0_zones));
  const auto allocate = [&](std::uint64_t count) {
    return map.allocate(static_cast<std::uint32_t>(count), SpacePolicy::usable_only).has_value();
  };
  for (unsigned i = 0; i < 2 * mdc_count; ++i) {
    if (!allocate(mdc_zones)) return false;
  }
  return allocate(root_zones) && allocate(root_zones) && allocate(1);
}

Plan make_plan(const Device& device, const CreateOptions& options) {
  Plan plan;
  plan.capacity = make_device_params(device, MediaClass::capacity, options.zone_size);
  plan.mdc_count = options.mdc_count.value_or(default_mdc_count(plan.capacity));
  const auto zones = [&](std::optional<std::uint64_t> wanted, std::uint64_t usual) {
    return std::max<std::uint64_t>(1, ceil_div(wanted.value_or(usual), plan.capacity.zone_size()));
  };
  plan.mdc0_zones = zones(options.mdc0_capacity, kDefaultMdc0Capacity);
  plan.mdc_zones = zones(options.mdc_capacity, default_mdc_capacity(plan.capacity, plan.mdc_count));
  plan.root_zones = zones(options.root_capacity, default_root_capacity(plan.capacity.device_size));
  if (plan.fits(plan.capacity.zone_count)) return plan;

  constexpr std::uint64_t kMaxZones = std::numeric_limits<std::uint32_t>::max();
  std::uint64_t needed = plan.zones() + 1;
  while (needed < kMaxZones && !plan.fits(needed))
    needed += needed / 16 + 1;
  raise(ENOSPC, device.name(), "{} is too small for pool {}: needs at least {} with these sizes",
        format_size(device.properties().size), options.name,
        format_size(needed * plan.capacity.zone_size()));
}

Superblock make_superblock(const Plan& plan, const CreateOptions& options) {
  Superblock superblock{.pool_name = options.name,
                        .pool_uuid = Uuid::random(),
                        .device = plan.capacity,
                        .mdc0 = Mdc0Location{}};
  for (unsigned i = 0; i < 2; ++i) {
    superblock.mdc0->halves[i] = {
        .generation = i + 1,
        .uuid = Uuid::random(),
        .device_uuid = plan.capacity.uuid,
        .layout = {.zone_count = static_cast<std::uint32_t>(plan.mdc0_zones),
                   .first_zone = plan.capacity.superblock_zones() + i * plan.mdc0_zones}};
  }
  superblock.mdc0->device = plan.capacity;
  return superblock;
}

ConfigRecord make_config(const Plan& plan, const CreateOptions& options) {
  ConfigRecord config = default_config(plan.root_zones * plan.capacity.zone_size());
  config.uid = options.uid;
  config.gid = options.gid;
  config.mode = options.mode;
  config.label = options.label;
  return config;
}

// Logs MCCONFIG, and MCSPARE when it is not the default.
void log_device(PoolState& pool, const DeviceParams& params, unsigned spare_percent) {
  const std::size_t index = index_of(params.media_class);
  pool.properties.devices[index] = params;
  pool.log_property(DeviceRecord{params});
  if (spare_percent == SpaceMap::kDefaultSparePercent) return;
  const auto percent = static_cast<std::uint8_t>(spare_percent);
  pool.properties.spares[index] = percent;
  pool.log_property(SpareRecord{params.media_class, percent});
}

}  // namespace

void Pool::create(Device& capacity, Device* staging, const CreateOptions& options) {
  check_options(options);
  if (&capacity == staging) {
    raise(EINVAL, "pool " + options.name, "{} cannot be both classes", capacity.name());
  }
  const Plan plan = make_plan(capacity, options);
  std::optional<DeviceParams> staging_params;
  if (staging != nullptr) {
    staging_params = make_device_params(*staging, MediaClass::staging, options.zone_size);
  }

  wipe_superblocks(capacity);
  if (staging != nullptr) wipe_superblocks(*staging);

  const Superblock superblock = make_superblock(plan, options);
  Impl pool(capacity, superblock, false);
  MediaClassSpace& space = pool.classes.add(std::make_unique<MediaClassSpace>(
      capacity, plan.capacity, options.spare_percent, pool.jobs, pool.tunables.discards));
  for (const auto& half : superblock.mdc0->halves) {
    space.map().insert(half.layout.first_zone, half.layout.zone_count);
  }
  pool.add_slot();
  pool.open_mdc0(PairUse::unused);
  pool.slots.front()->finish();
  log_device(pool, plan.capacity, options.spare_percent);
  if (staging_params) log_device(pool, *staging_params, options.spare_percent);
  pool.add_mdcs(plan.mdc_count, static_cast<std::uint32_t>(plan.mdc_zones));
  pool.add_root_mlogs(static_cast<std::uint32_t>(plan.root_zones));
  pool.properties.config = make_config(plan, options);
  pool.log_property(*pool.properties.config);

  if (staging != nullptr) {
    write_superblock(*staging, {.pool_name = superblock.pool_name,
                                .pool_uuid = superblock.pool_uuid,
                                .device = *staging_params,
                                .mdc0 = {}});
  }
  pool.superblocks.publish();
}

}  // namespace mpool

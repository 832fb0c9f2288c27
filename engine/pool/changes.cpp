// Changes of an active pool itself: its name, its devices, its settings.
//
// A record in MDC0 decides whether a change was made; the superblocks, where affected, are written
// after it (rename: the superblock of the capacity device decides, as it holds the name).
// Activation detects a crash in between and finishes the change (activate.cpp, check_devices).
#include <cerrno>

#include "engine/base/error.h"
#include "engine/pool/defaults.h"
#include "engine/pool/pool_state.h"
#include "engine/pool/settings.h"

namespace mpool {

void PoolState::change_properties(PoolProperties changed, const MetadataRecord& record) {
  const auto exchange = [this](PoolProperties& other) {
    const std::lock_guard lock(properties_mutex);
    std::swap(properties, other);
  };
  // First in memory: if logging compacts MDC0, the compaction writes that state.
  exchange(changed);
  try {
    log_property(record);
  } catch (...) {
    exchange(changed);
    throw;
  }
}

void PoolState::write_superblocks(const std::string& pool_name, const DeviceParams& params) {
  if (params.media_class == MediaClass::capacity) {
    superblocks.record_params(pool_name, params);
  } else {
    write_superblock(media_class(params.media_class).device(),
                     {.pool_name = pool_name, .pool_uuid = uuid, .device = params, .mdc0 = {}});
  }
}

void PoolState::finish_changes(const UnfinishedChanges& unfinished) {
  for (std::size_t i = 0; i < kMediaClassCount; ++i) {
    if (unfinished.records[i]) {
      log().warn("{}: adding or growing its {} device was interrupted, recording it in MDC0",
                 subject, to_string(static_cast<MediaClass>(i)));
      log_property(DeviceRecord{*unfinished.records[i]});
    }
  }
  // The capacity device first: its name is the pool's.
  for (const MediaClass media_class : {MediaClass::capacity, MediaClass::staging}) {
    if (!unfinished.superblocks[index_of(media_class)]) continue;
    log().warn("{}: a change of its {} device's superblocks was interrupted, writing them", subject,
               to_string(media_class));
    write_superblocks(name, *properties.devices[index_of(media_class)]);
  }
}

namespace {

PoolProperties properties_of(PoolState& pool) {
  const std::lock_guard lock(pool.properties_mutex);
  return pool.properties;
}

}  // namespace

void Pool::rename(const std::string& name) {
  check_pool_name(name);
  const std::lock_guard changes(impl_->changes_mutex);
  for (const MediaClass media_class : classes()) {
    impl_->write_superblocks(name, impl_->media_class(media_class).params());
  }
}

void Pool::add_staging(std::unique_ptr<Device> device, std::optional<std::uint64_t> zone_size) {
  if (zone_size) check_zone_size(impl_->subject, *zone_size);
  const std::lock_guard changes(impl_->changes_mutex);
  PoolProperties changed = properties_of(*impl_);
  auto& recorded = changed.devices[index_of(MediaClass::staging)];
  if (recorded) {
    raise(EEXIST, impl_->subject, "has a staging device{}; {} was not added",
          has_class(MediaClass::staging) ? "" : ", which is missing", device->name());
  }
  device->set_logger(impl_->logger);
  device->set_clock(impl_->jobs.clock());
  const DeviceParams params = make_device_params(*device, MediaClass::staging, zone_size);
  const Superblock superblock{
      .pool_name = name(), .pool_uuid = uuid(), .device = params, .mdc0 = {}};

  // The first copy, which identifies a device, is written last: a device without it that MDC0 does
  // not know can only come from an interrupted addition.
  wipe_superblocks(*device);
  write_superblock_copy(*device, superblock, 1);
  recorded = params;
  try {
    impl_->change_properties(std::move(changed), DeviceRecord{params});
  } catch (const Error& error) {
    // After any other error the record may be on the media.
    if (error.code() == ENOSPC) wipe_superblocks(*device);
    throw;
  }
  write_superblock_copy(*device, superblock, 0);
  auto space = std::make_unique<MediaClassSpace>(*device, params, SpaceMap::kDefaultSparePercent,
                                                 impl_->jobs, impl_->tunables.discards);
  impl_->show_in_metrics(*device, MediaClass::staging);
  impl_->owned.push_back(std::move(device));
  impl_->classes.add(std::move(space));
}

bool Pool::grow(MediaClass media_class) {
  const std::lock_guard changes(impl_->changes_mutex);
  MediaClassSpace& space = impl_->media_class(media_class);
  const std::uint64_t size = space.device().update_size();
  DeviceParams params = space.params();
  if (size < params.device_size) {
    raise(EINVAL, space.device().name(), "has {} bytes now, {} uses {}", size, impl_->subject,
          params.device_size);
  }
  const std::uint32_t zones = count_zones(space.device(), size, params.zone_size());
  if (zones <= params.zone_count) return false;
  params.zone_count = zones;
  params.device_size = size;

  PoolProperties changed = properties_of(*impl_);
  changed.devices[index_of(media_class)] = params;
  impl_->change_properties(std::move(changed), DeviceRecord{params});
  impl_->write_superblocks(name(), params);
  space.grow(params);
  return true;
}

void Pool::set_spare_percent(MediaClass media_class, unsigned percent) {
  check_spare_percent(impl_->subject, percent);
  const std::lock_guard changes(impl_->changes_mutex);
  MediaClassSpace& space = impl_->media_class(media_class);
  const auto value = static_cast<std::uint8_t>(percent);
  PoolProperties changed = properties_of(*impl_);
  changed.spares[index_of(media_class)] = value;
  impl_->change_properties(std::move(changed), SpareRecord{media_class, value});
  space.map().set_spare_percent(percent);
}

void Pool::configure(const Settings& changes) {
  const std::string& subject = impl_->subject;
  if (changes.mode) check_mode(subject, *changes.mode);
  if (changes.label) check_label(subject, *changes.label);
  if (changes.max_map_shift) check_map_shift(subject, *changes.max_map_shift);

  const std::lock_guard lock(impl_->changes_mutex);
  PoolProperties changed = properties_of(*impl_);
  if (!changed.config) {
    changed.config = default_config(capacity_of(find(root_log_id(0)).value()));
  }
  ConfigRecord& config = *changed.config;
  config.uid = changes.uid.value_or(config.uid);
  config.gid = changes.gid.value_or(config.gid);
  config.mode = changes.mode.value_or(config.mode);
  config.label = changes.label.value_or(config.label);
  config.user_type = changes.user_type.value_or(config.user_type);
  config.max_readahead_pages = changes.max_readahead_pages.value_or(config.max_readahead_pages);
  config.max_map_shift = changes.max_map_shift.value_or(config.max_map_shift);
  const ConfigRecord record = config;
  impl_->change_properties(std::move(changed), record);
}

}  // namespace mpool

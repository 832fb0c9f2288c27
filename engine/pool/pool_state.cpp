#include "engine/pool/pool_state.h"

#include <cassert>
#include <cerrno>

#include "engine/base/error.h"

namespace mpool {

PoolState::PoolState(Device& capacity, const Superblock& superblock, bool superblock_on_media,
                     Clock& clock, const Tunables& given)
    : name(superblock.pool_name),
      subject("pool " + superblock.pool_name),
      uuid(superblock.pool_uuid),
      jobs(clock),
      tunables(given),
      mdc_compactions(
          metrics.counter("mpoolfs_mdc_compactions_total", "Compactions of metadata containers")),
      superblocks(capacity, superblock, superblock_on_media) {}

MediaClassSpace& ClassTable::add(std::unique_ptr<MediaClassSpace> space) {
  const std::size_t index = index_of(space->params().media_class);
  assert(owned_[index] == nullptr);
  owned_[index] = std::move(space);
  published_[index].store(owned_[index].get(), std::memory_order_release);
  return *owned_[index];
}

void PoolState::show_in_metrics(const Device& device, MediaClass media_class) {
  device.add_to(metrics,
                {{"class", std::string(to_string(media_class))}, {"device", device.name()}});
}

MediaClassSpace& PoolState::media_class(MediaClass media_class) const {
  MediaClassSpace* found = classes[index_of(media_class)];
  if (found == nullptr) raise(ENODEV, subject, "has no {} device", to_string(media_class));
  return *found;
}

MdcSlot* PoolState::slot_of(ObjectId id) const {
  if (id.slot() == 0 || id.slot() >= slots.size()) return nullptr;
  return slots[id.slot()].get();
}

std::string PoolState::describe(ObjectId id) const {
  return fmt::format("{} {} of pool {}", id.is_mlog() ? "mlog" : "mblock", id.to_string(), name);
}

void PoolState::report_damage(const std::string& about, const std::string& what) {
  if (on_damage == OnDamage::refuse) {
    raise(ENOTRECOVERABLE, about,
          "{}; nothing was written to it. `mpool check` shows what is damaged, mounting with -o ro "
          "what "
          "can be read",
          what);
  }
  log().error("{}: {}", about, what);
  const std::lock_guard lock(damage_mutex);
  damage.push_back(fmt::format("{}: {}", about, what));
}

std::unique_ptr<Mdc> PoolState::open_pair(const std::string& mdc_name,
                                          const std::array<Mdc::Half, 2>& halves,
                                          Mdc::RecordGeneration record, Mdc::OpenOptions options) {
  options.on_damage = on_damage;
  try {
    auto mdc = Mdc::open(mdc_name, halves, std::move(record), options);
    if (!mdc->damage().empty()) report_damage(mdc_name, mdc->damage());
    return mdc;
  } catch (const Error& error) {
    const bool is_mdc0 = halves[0].id == mdc_log_id(0, 0);
    if (error.code() == ENODATA || (error.code() == ENXIO && !is_mdc0)) {
      report_damage(error.subject(), error.detail());
    }
    throw;
  }
}

MlogLocation PoolState::location_of(const ObjectRecord& mlog) const {
  MediaClassSpace& space = media_class(mlog.media_class);
  const DeviceParams params = space.params();
  return {.device = &space.device(),
          .offset = mlog.layout.first_zone * params.zone_size(),
          .capacity = mlog.layout.zone_count * params.zone_size(),
          .sector_size = params.sector_size(),
          .uuid = mlog.uuid,
          .generation = mlog.generation,
          .name = describe(mlog.id),
          .flushed = false};
}

void PoolState::give_back(const ObjectRecord& object) noexcept {
  // Without its device (forced activation) the zones cannot be returned.
  MediaClassSpace* space = classes[index_of(object.media_class)];
  if (space == nullptr) return;
  try {
    space->give_back(object.layout);
    note_change();
  } catch (const std::exception& error) {
    log().error("{}: zones are lost until the next activation: {}", describe(object.id),
                error.what());
  }
}

std::unique_ptr<MdcSlot> PoolState::make_slot(unsigned slot) {
  MdcSlot::Preamble preamble;
  if (slot == 0) preamble = [this] { return mdc0_preamble(); };
  return std::make_unique<MdcSlot>(slot, name, std::move(preamble), mdc_compactions);
}

std::vector<MetadataRecord> PoolState::mdc0_preamble() const {
  const std::lock_guard lock(properties_mutex);
  std::vector<MetadataRecord> records;
  for (const auto& device : properties.devices) {
    if (device) records.push_back(DeviceRecord{*device});
  }
  for (std::size_t i = 0; i < kMediaClassCount; ++i) {
    if (!properties.devices[i]) continue;
    constexpr std::uint8_t kDefault = SpaceMap::kDefaultSparePercent;
    records.push_back(
        SpareRecord{static_cast<MediaClass>(i), properties.spares[i].value_or(kDefault)});
  }
  if (properties.config) records.push_back(*properties.config);
  return records;
}

void PoolState::log_property(const MetadataRecord& record) {
  MdcSlot& mdc0 = *slots.front();
  MdcSlot::Pending pending;
  {
    const auto updates = mdc0.lock_updates();
    pending = mdc0.log(record);
  }
  mdc0.wait(pending);
}

void reserve_mlog(const MlogLocation& location) {
  const DeviceProperties& properties = location.device->properties();
  if (properties.read_only || properties.keeps_nothing) return;
  try {
    location.device->reserve(location.offset, location.capacity);
  } catch (const Error& error) {
    location.device->log().warn(
        "{}: {}: when the file system of the file is full, the pool's metadata cannot be written "
        "any more",
        location.name, error.what());
  }
}

void PoolState::open_mdc0(PairUse use) {
  const MediaClassSpace& space = media_class(MediaClass::capacity);
  const Mdc0Location location = superblocks.mdc0();
  std::array<Mdc::Half, 2> halves;
  for (unsigned i = 0; i < 2; ++i) {
    const Mdc0Location::Half& half = location.halves[i];
    halves[i].id = mdc_log_id(0, i);
    halves[i].location = location_of({.layout = half.layout,
                                      .id = halves[i].id,
                                      .generation = half.generation,
                                      .uuid = half.uuid});
  }
  for (const Mdc::Half& half : halves)
    reserve_mlog(half.location);
  MdcSlot& mdc0 = *slots.front();
  const auto record = [this](ObjectId half, std::uint64_t generation) {
    superblocks.record_generation(half == mdc_log_id(0, 0) ? 0 : 1, generation);
  };
  const Mdc::OpenOptions options{.use = use, .finish = Mdc::OpenOptions::Finish::later};
  mdc0.attach(open_pair(mdc0.name(), halves, record, options), space.params().sector_size());
}

void PoolState::open_slot(MdcSlot& slot, PairUse use) {
  MdcSlot& mdc0 = *slots.front();
  std::array<Mdc::Half, 2> halves;
  for (unsigned i = 0; i < 2; ++i) {
    const ObjectId id = mdc_log_id(slot.slot(), i);
    const auto object = mdc0.table().find_committed(id);
    if (!object) raise(ENOTRECOVERABLE, subject, "{} has no record in MDC0", id.to_string());
    halves[i] = {.id = id, .location = location_of(*object)};
    reserve_mlog(halves[i].location);
  }
  const auto record = [this, &mdc0](ObjectId half, std::uint64_t generation) {
    record_generation(mdc0, half, generation);
  };
  const Mdc::OpenOptions options{.use = use, .finish = Mdc::OpenOptions::Finish::later};
  slot.attach(open_pair(slot.name(), halves, record, options), halves[0].location.sector_size);
}

}  // namespace mpool

#include "engine/check/metadata.h"

#include <algorithm>
#include <compare>

#include "engine/base/error.h"
#include "engine/check/logs.h"
#include "engine/pool/load.h"
#include "engine/pool/object_loader.h"

namespace mpool::check {
namespace {

constexpr const char* kBackup =
    "the pool cannot be activated like this; copy its devices, then restore from a backup";

// The content of MDC0 except objects. The loader of objects reports faults of a record.
struct PropertyReader {
  Report& report;
  const std::string& name;
  PoolProperties& properties;
  std::uint64_t number = 0;

  void take(ConstByteSpan bytes) {
    if (const auto record = decode_record(bytes)) std::visit(*this, *record);
    ++number;
  }
  void operator()(const VersionRecord& record) const {
    const auto& v = record.version;
    if (number != 0) {
      report.error(Area::metadata, name,
                   fmt::format("record {}: a version record that is not the first", number),
                   kBackup);
    } else if (record > kMetadataVersion) {
      report.error(Area::metadata, name,
                   fmt::format("the metadata has version {}.{}.{}.{}, this program knows versions "
                               "up to 1.0.0.0",
                               v[0], v[1], v[2], v[3]),
                   "check it with a later version of this program");
    }
  }
  void operator()(const DeviceRecord& record) const {
    properties.devices[index_of(record.device.media_class)] = record.device;
  }
  void operator()(const SpareRecord& record) const {
    properties.spares[index_of(record.media_class)] = record.percent;
  }
  void operator()(const ConfigRecord& record) const { properties.config = record; }
  template <typename Other>
  void operator()(const Other&) const {}
};

// Reads the records of a log until its end or until an unreadable place.
void read_records(Report& report, const std::string& name, const Mlog& log,
                  const std::function<void(ConstByteSpan)>& take) {
  MlogReader reader(log);
  std::vector<std::byte> record;
  try {
    while (reader.next(record))
      take(record);
  } catch (const Error& error) {
    report.error(Area::metadata, name, error.what(), kBackup);
  }
}

class Loader {
 public:
  Loader(Metadata& metadata, Report& report) : metadata_(metadata), report_(report) {}

  void load() {
    load_mdc0();
    if (metadata_.slots.empty()) return;
    check_devices();
    if (!metadata_.properties.devices[index_of(MediaClass::capacity)]) return;
    const unsigned pairs = settle_pairs();
    for (unsigned slot = 1; slot <= pairs; ++slot) {
      report_.progress("MDCs", slot, pairs);
      load_slot(slot, pairs);
    }
    check_root();
  }

 private:
  std::string slot_name(unsigned slot) const {
    return fmt::format("MDC{} of {}", slot, metadata_.pool);
  }

  void load_mdc0();
  void check_devices();
  void check_unknown_device(const Member& member);
  void compare_device(const Member& member, DeviceParams& recorded);
  unsigned settle_pairs();
  void load_slot(unsigned slot, unsigned last);
  void read_objects(unsigned slot, const Mlog& log);
  bool was_finished() const;
  bool was_used(ObjectId mlog) const;
  void check_root();

  Metadata& metadata_;
  Report& report_;
};

void Loader::load_mdc0() {
  const Member& capacity = *metadata_.members[index_of(MediaClass::capacity)];
  const Superblock& superblock = capacity.superblock;
  std::array<Mdc::Half, 2> halves;
  for (unsigned i = 0; i < 2; ++i) {
    const Mdc0Location::Half& half = superblock.mdc0->halves[i];
    const ObjectRecord record{.layout = half.layout,
                              .id = mdc_log_id(0, i),
                              .generation = half.generation,
                              .uuid = half.uuid};
    const auto location = metadata_.location_of(record);
    if (!location) return;  // a truncated device, already reported
    halves[i] = {.id = record.id, .location = *location};
  }
  const std::string name = slot_name(0);
  const Pair pair = examine_pair(report_, Area::metadata, name, halves, PairUse::unknown, false);
  if (pair.log() == nullptr) return;
  PropertyReader reader{report_, name, metadata_.properties};
  read_records(report_, name, *pair.log(), [&](ConstByteSpan record) { reader.take(record); });
  metadata_.slots.push_back(std::make_unique<Slot>());
  read_objects(0, *pair.log());
}

void Loader::check_devices() {
  for (std::size_t i = 0; i < kMediaClassCount; ++i) {
    auto& recorded = metadata_.properties.devices[i];
    const auto& member = metadata_.members[i];
    if (!recorded && member) {
      check_unknown_device(*member);
    } else if (recorded && !member) {
      report_.error(Area::metadata, metadata_.pool,
                    fmt::format("its {} device {} is missing", to_string(recorded->media_class),
                                recorded->uuid.to_string()),
                    "give all devices of the pool; what is on the missing one was not checked");
    } else if (recorded && member) {
      compare_device(*member, *recorded);
      if (!member->first_copy_fault.empty()) {
        report_bad_copy(report_, *member, 0, member->first_copy_fault);
      }
    }
  }
}

// A device that belongs to the pool according to its superblock, but not according to MDC0.
void Loader::check_unknown_device(const Member& member) {
  const std::string device = fmt::format(
      "{} device {}", to_string(member.superblock.device.media_class), member.device->name());
  if (!member.first_copy_fault.empty()) {
    metadata_.properties.devices[index_of(MediaClass::staging)] = member.superblock.device;
    report_.unfinished(Area::metadata, metadata_.pool,
                       fmt::format("adding its {} was interrupted", device),
                       fmt::format("adding the {}", device));
    return;
  }
  const bool capacity = member.superblock.device.media_class == MediaClass::capacity;
  report_.error(Area::metadata, metadata_.pool,
                fmt::format("MDC0 has no MCCONFIG record of the {}: {} was interrupted", device,
                            capacity ? "creating the pool" : "adding the device"),
                capacity ? "there is nothing in the pool: create it again"
                         : "the pool is whole without the device, and it can be added again");
}

// MDC0 and the superblock must agree, except that one of them may not show yet that the device
// grew.
void Loader::compare_device(const Member& member, DeviceParams& recorded) {
  const DeviceParams& params = member.superblock.device;
  const auto describe = [](const DeviceParams& what) {
    return fmt::format("UUID {} and {} zones of {} bytes", what.uuid.to_string(), what.zone_count,
                       what.zone_size());
  };
  const std::string both = fmt::format("its {} device {} has, by its superblock, {}; by MDC0 {}",
                                       to_string(params.media_class), member.device->name(),
                                       describe(params), describe(recorded));
  const bool same_kind = recorded.uuid == params.uuid &&
                         recorded.sector_shift == params.sector_shift &&
                         recorded.zone_pages == params.zone_pages;
  const auto zones = recorded.zone_count <=> params.zone_count;
  const auto size = recorded.device_size <=> params.device_size;
  if (!same_kind || zones != size) {
    report_.error(Area::metadata, metadata_.pool, both, kBackup);
  } else if (zones != std::strong_ordering::equal) {
    report_.unfinished(Area::metadata, metadata_.pool, both + ": growing it was interrupted",
                       "recording the greater size");
    if (zones == std::strong_ordering::less) recorded = params;
  }
}

// The number of MDCs.
unsigned Loader::settle_pairs() {
  const ObjectTable& table = metadata_.slots.front()->objects;
  const auto has = [&](unsigned slot, unsigned half) {
    return table.find_committed(mdc_log_id(slot, half)).has_value();
  };
  unsigned last = 0;
  for (const ObjectRecord& mlog : table.live())
    last = std::max(last, static_cast<unsigned>(mlog.id.uniquifier() / 2));
  for (unsigned slot = 1; slot <= last; ++slot) {
    if (has(slot, 0) && has(slot, 1)) continue;
    if (slot == last && has(slot, 0) && !was_used(mdc_log_id(slot, 0))) {
      report_.unfinished(
          Area::metadata, slot_name(0),
          fmt::format("it has only one mlog of MDC{}: creating that was interrupted", slot),
          fmt::format("deleting the only mlog of MDC{}", slot));
      return slot - 1;
    }
    const std::string what =
        slot == last
            ? fmt::format("it has only one mlog of MDC{}, which was in use", slot)
            : fmt::format("it does not have both mlogs of MDC{}, but those of MDC{}", slot, last);
    report_.error(Area::metadata, slot_name(0), what, kBackup);
  }
  return last;
}

void Loader::load_slot(unsigned slot, unsigned last) {
  Slot& loaded = *metadata_.slots.emplace_back(std::make_unique<Slot>());
  const auto halves = metadata_.pair_of(mdc_log_id(slot, 0), mdc_log_id(slot, 1));
  loaded.readable = halves.has_value();
  if (!halves) return;
  const std::size_t errors = report_.errors(Area::metadata);
  const PairUse use = slot == last && !was_finished() ? PairUse::unused : PairUse::unknown;
  const Pair pair = examine_pair(report_, Area::metadata, slot_name(slot), *halves, use, false);
  if (pair.log() != nullptr) read_objects(slot, *pair.log());
  loaded.readable = pair.log() != nullptr && report_.errors(Area::metadata) == errors;
}

void Loader::read_objects(unsigned slot, const Mlog& log) {
  Slot& into = *metadata_.slots[slot];
  into.end = {
      .generation = log.generation(), .blocks = log.end().blocks, .flush_set = log.end().flush_set};
  const std::string name = slot_name(slot);
  ObjectLoader loader(
      slot, metadata_.properties, into.objects, [&](ObjectId id) { into.checkpoint = id; },
      [&](const std::string& fault) { report_.error(Area::metadata, name, fault, kBackup); });
  read_records(report_, name, log, [&](ConstByteSpan record) { loader.take(record); });
  loader.finish();
}

// Creating the pool ends with MPCONFIG and the root mlogs; MDC1 was read as far as possible.
bool Loader::was_finished() const {
  return metadata_.properties.config ||
         (metadata_.find(root_log_id(0)) && metadata_.find(root_log_id(1)));
}

bool Loader::was_used(ObjectId mlog) const {
  const auto record = metadata_.slots[mlog.slot()]->objects.find_committed(mlog);
  const auto location = record ? metadata_.location_of(*record) : std::nullopt;
  return location && mpool::was_used(*location);
}

void Loader::check_root() {
  if (metadata_.slots.size() > 1 && !metadata_.slots[1]->readable) return;
  if (metadata_.find(root_log_id(0)) && metadata_.find(root_log_id(1))) return;
  bool in_use = metadata_.properties.config.has_value();
  for (std::size_t slot = 1; slot < metadata_.slots.size(); ++slot) {
    const Slot& mdc = *metadata_.slots[slot];
    in_use |= mdc.checkpoint || mdc.objects.live_count() > (slot == 1 ? 1u : 0u);
  }
  if (metadata_.slots.size() > 1) {
    in_use |= was_used(root_log_id(0)) || was_used(root_log_id(1));
  }
  if (in_use) {
    report_.error(Area::metadata, slot_name(1),
                  "it does not have the mlogs of the root MDC, but the pool was in use: their "
                  "records are lost",
                  kBackup);
    return;
  }
  report_.unfinished(Area::metadata, metadata_.pool,
                     fmt::format("creating it was interrupted: it has {} MDCs and no root MDC",
                                 metadata_.slots.size() - 1),
                     "making the missing MDCs and the root MDC");
}

}  // namespace

std::optional<ObjectRecord> Metadata::find(ObjectId id) const {
  if (id.slot() == 0 || id.slot() >= slots.size()) return std::nullopt;
  return slots[id.slot()]->objects.find_committed(id);
}

bool Metadata::may_exist(ObjectId id) const {
  if (find(id)) return true;
  return id.slot() != 0 && id.slot() < slots.size() && !slots[id.slot()]->readable;
}

bool Metadata::was_handed_out(ObjectId id) const {
  if (id.slot() == 0 || id.slot() >= slots.size()) return false;
  const Slot& slot = *slots[id.slot()];
  return !slot.readable || id.uniquifier() < slot.id_limit();
}

std::vector<ObjectRecord> Metadata::objects() const {
  std::vector<ObjectRecord> objects;
  for (std::size_t slot = 1; slot < slots.size(); ++slot)
    slots[slot]->objects.collect_committed(objects);
  std::ranges::sort(objects, {}, &ObjectRecord::id);
  return objects;
}

bool Metadata::all_readable() const {
  return !slots.empty() &&
         std::ranges::all_of(slots, [](const auto& slot) { return slot->readable; });
}

std::optional<MlogLocation> Metadata::location_of(const ObjectRecord& mlog) const {
  const auto& member = members[index_of(mlog.media_class)];
  if (!member) return std::nullopt;
  const DeviceParams& params = member->superblock.device;
  const auto [count, first] = mlog.layout;
  if (member->device->properties().size < (first + count) * params.zone_size()) return std::nullopt;
  return MlogLocation{.device = member->device,
                      .offset = first * params.zone_size(),
                      .capacity = count * params.zone_size(),
                      .sector_size = params.sector_size(),
                      .uuid = mlog.uuid,
                      .generation = mlog.generation,
                      .name = fmt::format("mlog {} of {}", mlog.id.to_string(), pool)};
}

std::optional<std::array<Mdc::Half, 2>> Metadata::pair_of(ObjectId first, ObjectId second) const {
  std::array<Mdc::Half, 2> halves;
  for (std::size_t i = 0; i < 2; ++i) {
    const ObjectId id = i == 0 ? first : second;
    if (id.slot() >= slots.size()) return std::nullopt;
    const auto mlog = slots[id.slot()]->objects.find_committed(id);
    if (!mlog) return std::nullopt;
    const auto location = location_of(*mlog);
    if (!location) return std::nullopt;
    halves[i] = {.id = id, .location = *location};
  }
  return halves;
}

Metadata check_metadata(const Members& members, Report& report) {
  Metadata metadata{.members = members,
                    .pool = "pool " + report.result().pool_name,
                    .properties = {},
                    .slots = {}};
  Loader(metadata, report).load();
  return metadata;
}

}  // namespace mpool::check

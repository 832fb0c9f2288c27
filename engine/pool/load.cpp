#include "engine/pool/load.h"

#include <algorithm>
#include <cerrno>

#include "engine/base/error.h"
#include "engine/pool/object_loader.h"

namespace mpool {
namespace {

struct PropertyReader {
  PoolState& pool;
  const std::string& mdc0;
  std::uint64_t number = 0;
  PoolProperties found{};

  void take(ConstByteSpan bytes) {
    if (const auto record = decode_record(bytes)) {
      std::visit(*this, *record);
    } else {
      report(record.error());
    }
    ++number;
  }
  void report(const std::string& what) const {
    pool.report_damage(mdc0, fmt::format("record {}: {}", number, what));
  }

  void operator()(const VersionRecord& record) const {
    if (number != 0) report("a version record that is not the first");
    if (record <= kMetadataVersion) return;
    const auto& v = record.version;
    raise(ENOTSUP, pool.subject,
          "has metadata version {}.{}.{}.{}, this program knows versions up to 1.0.0.0", v[0], v[1],
          v[2], v[3]);
  }
  void operator()(const DeviceRecord& record) {
    found.devices[index_of(record.device.media_class)] = record.device;
  }
  void operator()(const SpareRecord& record) {
    found.spares[index_of(record.media_class)] = record.percent;
  }
  void operator()(const ConfigRecord& record) { found.config = record; }
  template <typename Other>
  void operator()(const Other&) const {}
};

// Reads the records of an MDC as far as possible.
void read_records(PoolState& pool, MdcSlot& slot, const std::function<void(ConstByteSpan)>& take) {
  try {
    slot.load(take);
  } catch (const Error& error) {
    if (error.code() != ENODATA) throw;
    pool.report_damage(error.subject(), error.detail());
  }
}

void mark_zones(PoolState& pool, const MdcSlot& slot) {
  for (const ObjectRecord& object : slot.table().live()) {
    MediaClassSpace* space = pool.classes[index_of(object.media_class)];
    if (space == nullptr) continue;
    try {
      space->map().insert(object.layout.first_zone, object.layout.zone_count);
    } catch (const Error& error) {
      // When damage is refused, the error of activation also names the other object.
      if (pool.on_damage == OnDamage::refuse) throw;
      pool.report_damage(pool.describe(object.id), error.detail());
    }
  }
}

}  // namespace

PoolProperties read_properties(PoolState& pool) {
  MdcSlot& mdc0 = *pool.slots.front();
  PropertyReader reader{.pool = pool, .mdc0 = mdc0.name()};
  read_records(pool, mdc0, [&](ConstByteSpan record) { reader.take(record); });
  auto& capacity = reader.found.devices[index_of(MediaClass::capacity)];
  if (!capacity) {
    const MediaClassSpace& space = pool.media_class(MediaClass::capacity);
    const std::string what = fmt::format(
        "MDC0 has no MCCONFIG record of the capacity device {}: creating the pool was interrupted",
        space.device().name());
    if (pool.on_damage == OnDamage::refuse) raise(ENXIO, pool.subject, "{}", what);
    pool.report_damage(pool.subject, what);
    capacity = space.params();
  }
  return std::move(reader.found);
}

void load_slot(PoolState& pool, MdcSlot& slot) {
  // A record of an object takes at least this much; most MDCs hold little else.
  constexpr std::uint64_t kBytesPerObject = 48;
  slot.table().reserve(slot.used() / kBytesPerObject);
  ObjectLoader loader(
      slot.slot(), pool.properties, slot.table(), [&](ObjectId id) { slot.set_checkpoint(id); },
      [&](const std::string& fault) { pool.report_damage(slot.name(), fault); });
  read_records(pool, slot, [&](ConstByteSpan bytes) { loader.take(bytes); });
  loader.finish();
  mark_zones(pool, slot);
}

bool was_used(const MlogLocation& mlog) {
  const auto log = Mlog::open(mlog, CompactionSemantics::on, OnDamage::report);
  const FoundLog found = describe(*log);
  return mlog.generation != 0 || found.written() || !found.damage.empty();
}

std::string find_overlap(const PoolState& pool) {
  std::vector<ObjectRecord> objects;
  for (const auto& slot : pool.slots)
    slot->table().collect_committed(objects);
  for (unsigned i = 0; i < 2; ++i) {
    ObjectRecord& half = objects.emplace_back();
    half.layout = pool.superblocks.mdc0().halves[i].layout;
    half.id = mdc_log_id(0, i);
  }
  std::ranges::sort(objects, {}, [](const ObjectRecord& object) {
    return std::pair(object.media_class, object.layout.first_zone);
  });
  for (std::size_t i = 1; i < objects.size(); ++i) {
    const ObjectRecord& a = objects[i - 1];
    const ObjectRecord& b = objects[i];
    if (a.media_class == b.media_class &&
        b.layout.first_zone - a.layout.first_zone < a.layout.zone_count) {
      return fmt::format("{} and {} overlap on the {} device: zone {} belongs to both",
                         a.id.to_string(), b.id.to_string(), to_string(a.media_class),
                         b.layout.first_zone);
    }
  }
  return {};
}

}  // namespace mpool

#include "engine/pool/load.h"

#include <algorithm>
#include <cerrno>

#include "engine/base/error.h"
#include "engine/pool/object_loader.h"

namespace mpool {
namespace {

template <typename... Args>
[[noreturn]] void corrupt(const std::string& subject, fmt::format_string<Args...> format,
                          Args&&... args) {
  raise(ENOTRECOVERABLE, subject, format, std::forward<Args>(args)...);
}

MetadataRecord decode(const std::string& subject, std::uint64_t number, ConstByteSpan bytes) {
  auto record = decode_record(bytes);
  if (!record) corrupt(subject, "record {}: {}", number, record.error());
  return std::move(*record);
}

// The valid mlog of MDC0 with the smaller generation (on-media-format, "MDC (pair of mlogs)").
std::unique_ptr<Mlog> open_active_half(const PoolState& pool) {
  const Mdc0Location location = pool.superblocks.mdc0();
  std::unique_ptr<Mlog> active;
  std::string faults;
  for (unsigned i = 0; i < 2; ++i) {
    const Mdc0Location::Half& half = location.halves[i];
    try {
      auto mlog = Mlog::open(pool.place_of({.layout = half.layout,
                                            .id = mdc_log_id(0, i),
                                            .generation = half.generation,
                                            .uuid = half.uuid}),
                             CompactionSemantics::on);
      if (active == nullptr || mlog->generation() < active->generation()) active = std::move(mlog);
    } catch (const Error& error) {
      if (error.code() != ENODATA && error.code() != EMSGSIZE) throw;
      faults += fmt::format("; {}", error.what());
    }
  }
  if (active == nullptr)
    corrupt("MDC0 of " + pool.subject, "neither of its mlogs is valid{}", faults);
  return active;
}

struct PropertyReader {
  const PoolState& pool;
  std::uint64_t number = 0;
  PoolProperties found{};

  void operator()(const VersionRecord& record) const {
    if (number != 0)
      corrupt(pool.subject, "MDC0 record {}: a version record that is not the first", number);
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

}  // namespace

PoolProperties read_properties(const PoolState& pool) {
  const auto mlog = open_active_half(pool);
  PropertyReader reader{pool};
  MlogReader records(*mlog);
  std::vector<std::byte> bytes;
  for (; records.next(bytes); ++reader.number) {
    std::visit(reader, decode("MDC0 of " + pool.subject, reader.number, bytes));
  }
  if (!reader.found.devices[index_of(MediaClass::capacity)]) {
    raise(
        ENXIO, pool.subject,
        "MDC0 has no MCCONFIG record of the capacity device {}: creating the pool was interrupted",
        pool.media_class(MediaClass::capacity).device().name());
  }
  return std::move(reader.found);
}

void load_slot(PoolState& pool, MdcSlot& slot) {
  // A record of an object takes at least this much; most MDCs hold little else.
  constexpr std::uint64_t kBytesPerObject = 48;
  slot.table().reserve(slot.used() / kBytesPerObject);
  ObjectLoader loader(
      slot.slot(), pool.properties, slot.table(), [&](ObjectId id) { slot.set_checkpoint(id); },
      [&](const std::string& fault) { corrupt(slot.name(), "{}", fault); });
  slot.load([&](ConstByteSpan bytes) { loader.take(bytes); });
  for (const ObjectRecord& object : slot.table().live()) {
    MediaClassSpace* space = pool.classes[index_of(object.media_class)];
    if (space != nullptr) space->map().insert(object.layout.first_zone, object.layout.zone_count);
  }
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

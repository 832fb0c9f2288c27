#include "engine/pool/object_loader.h"

#include <utility>
#include <variant>

namespace mpool {

ObjectLoader::ObjectLoader(unsigned slot, const PoolProperties& properties, ObjectTable& table,
                           Checkpoint checkpoint, Fault fault)
    : slot_(slot),
      properties_(properties),
      table_(table),
      checkpoint_(std::move(checkpoint)),
      fault_(std::move(fault)) {}

// Returns false, for the checks below.
template <typename... Args>
bool ObjectLoader::fault(fmt::format_string<Args...> format, Args&&... args) {
  fault_(fmt::format("record {}: {}", number_, fmt::format(format, std::forward<Args>(args)...)));
  return false;
}

struct ObjectLoader::Visitor {
  ObjectLoader& loader;

  template <typename Known>
  requires requires(ObjectLoader& to, const Known& record) { to.apply(record); }
  void operator()(const Known& record) const { loader.apply(record); }
  void operator()(const DeviceRecord&) const { loader.apply_property("MCCONFIG"); }
  void operator()(const SpareRecord&) const { loader.apply_property("MCSPARE"); }
  void operator()(const VersionRecord&) const { loader.apply_property("VERSION"); }
  void operator()(const ConfigRecord&) const { loader.apply_property("MPCONFIG"); }
};

void ObjectLoader::take(ConstByteSpan bytes) {
  if (const auto record = decode_record(bytes)) {
    std::visit(Visitor{*this}, *record);
  } else {
    fault("{}", record.error());
  }
  ++number_;
}

void ObjectLoader::finish() {
  if (slot_ == 0) return;
  // Before the first checkpoint, ids are handed out up to the first that needs one.
  const std::uint64_t limit = last_checkpoint_ + ObjectId::kCheckpointInterval;
  for (const ObjectRecord& object : table_.live()) {
    const std::string id = object.id.to_string();
    if (object.id.uniquifier() >= limit) {
      fault_(
          fmt::format("{} exists, but the ids handed out end before {} by the last checkpoint: "
                      "the record of a later one is lost",
                      id, ObjectId::make(limit, object.id.type(), object.id.slot()).to_string()));
    }
    if (object.id.is_mblock() && object.layout.zone_count != 1) {
      fault_(fmt::format("mblock {} has {} zones, expected 1", id, object.layout.zone_count));
    }
  }
}

void ObjectLoader::missing(std::string_view what, ObjectId id) {
  fault("{} for {}, which does not exist", what, id.to_string());
}

bool ObjectLoader::check_slot(std::string_view what, ObjectId id) {
  if (id.slot() == slot_) return true;
  return fault("{} for {}, which belongs to MDC{}", what, id.to_string(), id.slot());
}

void ObjectLoader::apply_property(std::string_view what) {
  if (slot_ != 0) fault("{} does not belong into this MDC", what);
}

void ObjectLoader::apply(const ObjectRecord& object) {
  if (!check_object(object)) return;
  if (object.update) {
    if (!check_update(object)) return;
    if (!table_.replace(object)) missing("OUPDATE", object.id);
  } else if (!table_.insert(object, ObjectState::committed)) {
    fault("OCREATE for {}, which exists already", object.id.to_string());
  }
}

void ObjectLoader::apply(const DeleteRecord& record) {
  if (!check_slot("ODELETE", record.id)) return;
  if (!table_.erase(record.id)) missing("ODELETE", record.id);
}

void ObjectLoader::apply(const CheckpointRecord& record) {
  if (slot_ == 0) {
    fault("OIDCKPT does not belong into this MDC");
  } else if (check_slot("OIDCKPT", record.id)) {
    last_checkpoint_ = record.id.uniquifier();
    checkpoint_(record.id);
  }
}

void ObjectLoader::apply(const EraseRecord& record) {
  if (!check_slot("OERASE", record.id)) return;
  if (!record.id.is_mlog()) {
    fault("OERASE for {}, which is no mlog", record.id.to_string());
    return;
  }
  const auto previous = table_.set_generation(record.id, record.generation);
  if (!previous) {
    missing("OERASE", record.id);
  } else if (record.generation < *previous) {
    table_.set_generation(record.id, *previous);
    fault("OERASE for {} with generation {}, it had {} already", record.id.to_string(),
          record.generation, *previous);
  }
}

// An mblock stays where it is.
bool ObjectLoader::check_update(const ObjectRecord& object) {
  const auto present = table_.find_committed(object.id);
  if (!present || !object.id.is_mblock()) return true;
  if (object.media_class != present->media_class || object.layout != present->layout) {
    return fault("OUPDATE for {} with other zones than it had", object.id.to_string());
  }
  return true;
}

bool ObjectLoader::check_object(const ObjectRecord& object) {
  if (!check_slot(object.update ? "OUPDATE" : "OCREATE", object.id)) return false;
  const std::string id = object.id.to_string();
  if (slot_ == 0) {
    const std::uint64_t last = mdc_log_id(kMaxMdcs, 1).uniquifier();
    const std::uint64_t uniquifier = object.id.uniquifier();
    if (!object.id.is_mlog() || uniquifier < 2 || uniquifier > last) {
      return fault("{} is not a mlog of an MDC", id);
    }
    if (object.media_class != MediaClass::capacity) {
      return fault("{} is not on the capacity device", id);
    }
  }
  const auto& params = properties_.devices[index_of(object.media_class)];
  if (!params) {
    return fault("{} lies on a {} device, which the pool does not have", id,
                 to_string(object.media_class));
  }
  const auto [count, first] = object.layout;
  if (count == 0 || first >= params->zone_count || count > params->zone_count - first) {
    return fault("{} has {} zones from zone {}, its device has {} zones", id, count, first,
                 params->zone_count);
  }
  if (object.written_length > count * params->zone_size()) {
    return fault("{} has {} bytes in {} zones of {}", id, object.written_length, count,
                 params->zone_size());
  }
  return true;
}

}  // namespace mpool

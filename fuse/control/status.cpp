#include "fuse/control/status.h"

#include <string_view>
#include <utility>

#include "engine/io/device.h"

namespace mpoolfs {

namespace {

using Json = nlohmann::ordered_json;
using mpool::MediaClass;
using mpool::Pool;

Json pool_json(const Pool& pool, const MountInfo& mount) {
  return {{"name", pool.name()},
          {"uuid", pool.uuid().to_string()},
          {"mounted_on", mount.options.mount_point},
          {"read_only", mount.options.read_only},
          {"foreign", mount.foreign},
          {"damage", pool.damage()}};
}

std::string_view to_string(TransportChoice choice) {
  switch (choice) {
    case TransportChoice::automatic:
      return "auto";
    case TransportChoice::uring:
      return "uring";
    case TransportChoice::dev:
      return "dev";
  }
  return {};
}

std::string_view to_string(NativeChoice choice) {
  switch (choice) {
    case NativeChoice::automatic:
      return "auto";
    case NativeChoice::on:
      return "on";
    case NativeChoice::off:
      return "off";
  }
  return {};
}

// null for an option that was not given.
template <typename T>
Json optional_json(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json transport_json(const TransportInfo& transport) {
  return {{"name", transport.name},
          {"reason", transport.reason},
          {"queues", transport.queues},
          {"threads", transport.threads},
          {"max_write", transport.max_write}};
}

Json native_json(const NativeStats& native) {
  return {{"state", native.state}, {"reason", native.reason}, {"files", native.files},
          {"views", native.views}, {"opens", native.opens},   {"served_opens", native.served},
          {"kept", native.kept}};
}

Json device_json(const Pool& pool, MediaClass media_class) {
  const Pool::ClassInfo info = pool.class_info(media_class);
  const mpool::Device::Counters counters = pool.device(media_class).counters();
  return {{"class", to_string(media_class)},
          {"path", info.device_name},
          {"uuid", info.params.uuid.to_string()},
          {"size", info.params.device_size},
          {"sector_size", info.params.sector_size()},
          {"zone_size", info.params.zone_size()},
          {"zones", info.params.zone_count},
          {"offline", !info.online},
          {"reads", counters.reads},
          {"read_bytes", counters.read_bytes},
          {"writes", counters.writes},
          {"written_bytes", counters.written_bytes},
          {"flushes", counters.flushes},
          {"discards", counters.discards},
          {"errors", counters.errors}};
}

// Zones by the names of `mpool info --json`, and the values of df(1) in bytes.
Json class_json(const Pool& pool, MediaClass media_class) {
  const Pool::ClassInfo info = pool.class_info(media_class);
  const mpool::SpaceUsage& space = info.space;
  const std::uint64_t zone_size = info.params.zone_size();
  return {{"class", to_string(media_class)},
          {"zone_size", zone_size},
          {"zones", space.total},
          {"usable", space.usable},
          {"used", space.used},
          {"free", space.free_usable},
          {"spare", space.spare},
          {"free_spare", space.free_spare},
          {"pending", space.pending},
          {"spare_percent", info.spare_percent},
          {"total_bytes", space.total * zone_size},
          {"used_bytes", space.used * zone_size},
          {"free_bytes", space.free_usable * zone_size}};
}

Json mdc_json(const Pool::MdcStats& stats) {
  return {{"slot", stats.slot},
          {"active", stats.mdc.ids[stats.mdc.active].to_string()},
          {"generation", stats.mdc.generations[stats.mdc.active]},
          {"capacity", stats.capacity},
          {"used", stats.used},
          {"records", stats.records},
          {"live_records", stats.live_records}};
}

Json root_mdc_json(const mpool::MetadataStats& stats) {
  return {{"capacity", stats.capacity},
          {"used", stats.used},
          {"live", stats.live},
          {"possible_capacity", stats.possible_capacity}};
}

Json objects_json(const Pool& pool) {
  const Pool::ObjectCounts counts = pool.object_counts();
  return {{"mblocks", counts.mblocks}, {"mlogs", counts.mlogs}};
}

}  // namespace

Json options_json(const Options& options) {
  return {{"sync", options.sync},
          {"force", options.force},
          {"uid", optional_json(options.uid)},
          {"gid", optional_json(options.gid)},
          {"transport", to_string(options.transport)},
          {"native", to_string(options.native)},
          {"workers", options.workers}};
}

std::string status_text(const Pool& pool, const MountInfo& mount) {
  Json devices = Json::array();
  Json classes = Json::array();
  for (const MediaClass media_class : pool.classes()) {
    devices.push_back(device_json(pool, media_class));
    classes.push_back(class_json(pool, media_class));
  }
  Json mdcs = Json::array();
  for (const Pool::MdcStats& stats : pool.mdcs())
    mdcs.push_back(mdc_json(stats));

  const Json status = {{"version", MPOOLFS_VERSION},
                       {"pool", pool_json(pool, mount)},
                       {"options", options_json(mount.options)},
                       {"transport", transport_json(mount.transport)},
                       {"native", native_json(mount.native)},
                       {"requests", {{"read", mount.reads}}},
                       {"devices", std::move(devices)},
                       {"classes", std::move(classes)},
                       {"mdcs", std::move(mdcs)},
                       {"root_mdc", root_mdc_json(mount.metadata)},
                       {"objects", objects_json(pool)},
                       {"open_files", mount.open_files}};
  // Paths may hold control characters and bytes that are not UTF-8.
  return status.dump(2, ' ', true, Json::error_handler_t::replace) + '\n';
}

}  // namespace mpoolfs

#include "fuse/control/status.h"

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "engine/io/device.h"

namespace mpoolfs {

namespace {

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

Json reaper_json(const mpool::ReaperStats& reaper) {
  Json resident;
  for (std::size_t i = 0; i < mpool::kAdviceCount; ++i) {
    resident[std::string(to_string(static_cast<mpool::Advice>(i)))] = reaper.counts.resident[i];
  }
  return {{"chunks", reaper.counts.chunks},
          {"resident_pages", std::move(resident)},
          {"evicted_pages", reaper.counts.evicted},
          {"skipped_pages", reaper.counts.skipped},
          {"over_evicted_pages", reaper.counts.over_evicted},
          {"evicting", reaper.evicts},
          {"ttl_us", std::chrono::duration_cast<std::chrono::microseconds>(reaper.ttl).count()},
          {"read_ahead_cut", to_string(reaper.read_ahead_cut)},
          {"free_bytes", reaper.free},
          {"low_bytes", reaper.low},
          {"high_bytes", reaper.high}};
}

Json device_status_json(const Pool& pool, MediaClass media_class) {
  const Pool::ClassInfo info = pool.class_info(media_class);
  const mpool::Device::Counters counters = pool.device(media_class).counters();
  Json device = device_json(info.device_name, info.params);
  device.update({{"offline", !info.online},
                 {"reads", counters.reads},
                 {"read_bytes", counters.read_bytes},
                 {"writes", counters.writes},
                 {"written_bytes", counters.written_bytes},
                 {"flushes", counters.flushes},
                 {"discards", counters.discards},
                 {"errors", counters.errors}});
  return device;
}

// With the values of df(1) in bytes.
Json class_status_json(const Pool& pool, MediaClass media_class) {
  const Pool::ClassInfo info = pool.class_info(media_class);
  const std::uint64_t zone_size = info.params.zone_size();
  Json json = class_json(info);
  json.update({{"spare_percent", info.spare_percent},
               {"total_bytes", info.space.total * zone_size},
               {"used_bytes", info.space.used * zone_size},
               {"free_bytes", info.space.free_usable * zone_size}});
  return json;
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

Json job_json(const mpool::JobInfo& job) {
  return {{"name", job.options.name},
          {"state", to_string(job.state)},
          {"priority", to_string(job.options.priority)},
          {"done", job.done},
          {"total", job.total},
          {"bytes", job.bytes},
          {"bytes_per_second", job.options.bytes_per_second}};
}

Json objects_json(const Pool& pool) {
  const Pool::ObjectCounts counts = pool.object_counts();
  return {{"mblocks", counts.mblocks}, {"mlogs", counts.mlogs}};
}

Json packs_json(const mpool::PackStats& packs) {
  return {{"count", packs.packs},
          {"files", packs.files},
          {"capacity", packs.capacity},
          {"live", packs.live}};
}

}  // namespace

Json options_json(const Options& options) {
  return {{"sync", options.sync},
          {"force", options.force},
          {"uid", optional_json(options.uid)},
          {"gid", optional_json(options.gid)},
          {"transport", to_string(options.transport)},
          {"native", to_string(options.native)},
          {"workers", options.workers},
          {"pack_max", options.pack_max ? Json(*options.pack_max) : Json(nullptr)}};
}

std::string status_text(const Pool& pool, const MountInfo& mount) {
  Json devices = Json::array();
  Json classes = Json::array();
  for (const MediaClass media_class : pool.classes()) {
    devices.push_back(device_status_json(pool, media_class));
    classes.push_back(class_status_json(pool, media_class));
  }
  Json mdcs = Json::array();
  for (const Pool::MdcStats& stats : pool.mdcs())
    mdcs.push_back(mdc_json(stats));
  Json jobs = Json::array();
  for (const mpool::JobInfo& job : pool.jobs().list())
    jobs.push_back(job_json(job));

  const Json status = {{"version", MPOOLFS_VERSION},
                       {"pool", pool_json(pool, mount)},
                       {"options", options_json(mount.options)},
                       {"transport", transport_json(mount.transport)},
                       {"native", native_json(mount.native)},
                       {"reaper", reaper_json(mount.reaper)},
                       {"requests", {{"read", mount.reads}}},
                       {"devices", std::move(devices)},
                       {"classes", std::move(classes)},
                       {"mdcs", std::move(mdcs)},
                       {"root_mdc", root_mdc_json(mount.metadata)},
                       {"objects", objects_json(pool)},
                       {"packs", packs_json(mount.packs)},
                       {"jobs", std::move(jobs)},
                       {"open_files", mount.open_files}};
  return json_text(status, 2) + '\n';
}

}  // namespace mpoolfs

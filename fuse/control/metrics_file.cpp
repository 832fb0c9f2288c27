#include "fuse/control/metrics_file.h"

#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

namespace mpoolfs {

namespace {

using mpool::MediaClass;
using mpool::Metrics;
using mpool::Pool;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

using Families = std::vector<MetricFamily>;

double seconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

std::vector<ClientMetric::Label> to_labels(const Metrics::Labels& labels) {
  std::vector<ClientMetric::Label> result;
  for (const auto& [name, value] : labels)
    result.push_back({.name = name, .value = value});
  return result;
}

ClientMetric::Histogram to_histogram(const mpool::LatencyHistogram& histogram) {
  const mpool::LatencyHistogram::Values values = histogram.values();
  ClientMetric::Histogram result{
      .sample_count = values.count, .sample_sum = seconds(values.sum), .bucket = {}};
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < values.counts.size(); ++i) {
    count += values.counts[i];
    const bool last = i + 1 == values.counts.size();
    result.bucket.push_back({.cumulative_count = count,
                             .upper_bound = last ? std::numeric_limits<double>::infinity()
                                                 : seconds(mpool::LatencyHistogram::bound(i))});
  }
  return result;
}

// Adds a number of the registry to its family.
struct AddSample {
  MetricFamily& family;
  ClientMetric sample;

  void operator()(const mpool::Counter* counter) {
    family.type = MetricType::Counter;
    sample.counter.value = static_cast<double>(counter->value());
    family.metric.push_back(std::move(sample));
  }
  void operator()(const mpool::Gauge* gauge) {
    family.type = MetricType::Gauge;
    sample.gauge.value = static_cast<double>(gauge->value());
    family.metric.push_back(std::move(sample));
  }
  void operator()(const mpool::LatencyHistogram* histogram) {
    family.type = MetricType::Histogram;
    sample.histogram = to_histogram(*histogram);
    family.metric.push_back(std::move(sample));
  }
};

void add_counted(const Metrics& metrics, Families& families) {
  metrics.visit([&](const Metrics::Family& counted) {
    MetricFamily& family = families.emplace_back();
    family.name = counted.name;
    family.help = counted.help;
    for (const Metrics::Sample& sample : counted.samples) {
      AddSample add{.family = family, .sample = {}};
      add.sample.label = to_labels(sample.labels);
      std::visit(add, sample.number);
    }
  });
}

// A family of numbers that other objects keep.
class Facts {
 public:
  Facts(Families& families, std::string name, std::string help, MetricType type)
      : family_(families.emplace_back()) {
    family_.name = std::move(name);
    family_.help = std::move(help);
    family_.type = type;
  }

  void add(std::uint64_t value, const Metrics::Labels& labels = {}) {
    add_fraction(static_cast<double>(value), labels);
  }
  void add_fraction(double value, const Metrics::Labels& labels = {}) {
    ClientMetric& metric = family_.metric.emplace_back();
    metric.label = to_labels(labels);
    if (family_.type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
  }

 private:
  MetricFamily& family_;
};

void add_gauge(Families& families, std::string name, std::string help, std::uint64_t value) {
  Facts(families, std::move(name), std::move(help), MetricType::Gauge).add(value);
}

void add_counter(Families& families, std::string name, std::string help, std::uint64_t value) {
  Facts(families, std::move(name), std::move(help), MetricType::Counter).add(value);
}

void add_space(const Pool& pool, Families& families) {
  std::vector<std::pair<std::string, Pool::ClassInfo>> classes;
  for (const MediaClass media_class : pool.classes())
    classes.emplace_back(to_string(media_class), pool.class_info(media_class));
  {
    Facts offline(families, "mpoolfs_device_offline",
                  "1 after a failed write: the device is not written to any more",
                  MetricType::Gauge);
    for (const auto& [name, info] : classes)
      offline.add(info.online ? 0 : 1, {{"class", name}, {"device", info.device_name}});
  }
  {
    Facts size(families, "mpoolfs_zone_size_bytes", "Size of a zone", MetricType::Gauge);
    for (const auto& [name, info] : classes)
      size.add(info.params.zone_size(), {{"class", name}});
  }
  Facts zones(families, "mpoolfs_zones", "Zones by their use", MetricType::Gauge);
  for (const auto& [name, info] : classes) {
    const mpool::SpaceUsage& space = info.space;
    const std::pair<const char*, std::uint64_t> states[] = {{"used", space.used},
                                                            {"free", space.free_usable},
                                                            {"free_spare", space.free_spare},
                                                            {"pending", space.pending}};
    for (const auto& [state, count] : states)
      zones.add(count, {{"class", name}, {"state", state}});
  }
}

void add_objects(const Pool& pool, Families& families) {
  const Pool::ObjectCounts counts = pool.object_counts();
  Facts objects(families, "mpoolfs_objects", "Objects in the pool", MetricType::Gauge);
  objects.add(counts.mblocks, {{"type", "mblock"}});
  objects.add(counts.mlogs, {{"type", "mlog"}});
}

void add_packs(const mpool::PackStats& packs, Families& families) {
  add_gauge(families, "mpoolfs_packs", "Objects that hold the content of small files", packs.packs);
  add_gauge(families, "mpoolfs_packed_files", "Pieces of content in packs", packs.files);
  add_gauge(families, "mpoolfs_pack_capacity_bytes", "Size of all packs", packs.capacity);
  add_gauge(families, "mpoolfs_pack_live_bytes", "Content of files in packs", packs.live);
}

void add_mdcs(const Pool& pool, const mpool::MetadataStats& root, Families& families) {
  const std::vector<Pool::MdcStats> mdcs = pool.mdcs();
  const auto add = [&](const char* name, const char* help, auto value) {
    Facts facts(families, name, help, MetricType::Gauge);
    for (const Pool::MdcStats& stats : mdcs)
      facts.add(value(stats), {{"mdc", std::to_string(stats.slot)}});
  };
  add("mpoolfs_mdc_capacity_bytes", "Size of the active log of a metadata container",
      [](const Pool::MdcStats& stats) { return stats.capacity; });
  add("mpoolfs_mdc_used_bytes", "Bytes in use of the active log of a metadata container",
      [](const Pool::MdcStats& stats) { return stats.used; });
  add("mpoolfs_mdc_records", "Records in a metadata container",
      [](const Pool::MdcStats& stats) { return stats.records; });
  add("mpoolfs_mdc_live_records", "Records that a compaction of a metadata container leaves",
      [](const Pool::MdcStats& stats) { return stats.live_records; });
  add_gauge(families, "mpoolfs_root_mdc_capacity_bytes", "Size of the log of the names",
            root.capacity);
  add_gauge(families, "mpoolfs_root_mdc_used_bytes", "Bytes in use of the log of the names",
            root.used);
  add_gauge(families, "mpoolfs_root_mdc_live_bytes", "Bytes that the names need, about", root.live);
}

void add_native(const NativeStats& native, Families& families) {
  add_gauge(families, "mpoolfs_native_files", "Files that the kernel can read by itself",
            native.files);
  add_gauge(families, "mpoolfs_native_views", "Views by which it reads them", native.views);
  add_gauge(families, "mpoolfs_native_kept_files", "Files that it has, or just had, open or mapped",
            native.kept);
  add_counter(families, "mpoolfs_native_opens_total",
              "Opens of committed files that the kernel reads", native.opens);
  add_counter(families, "mpoolfs_native_served_opens_total",
              "Opens of committed files that the daemon reads", native.served);
}

void add_reaper(const mpool::ReaperStats& reaper, Families& families) {
  {
    Facts resident(families, "mpoolfs_reaper_resident_pages",
                   "Pages of tracked content in the page cache", MetricType::Gauge);
    for (std::size_t i = 0; i < mpool::kAdviceCount; ++i) {
      resident.add(reaper.counts.resident[i],
                   {{"advice", std::string(to_string(static_cast<mpool::Advice>(i)))}});
    }
  }
  add_gauge(families, "mpoolfs_reaper_chunks", "Tracked parts of files and members of maps",
            reaper.counts.chunks);
  add_counter(families, "mpoolfs_reaper_evicted_pages_total", "Pages that the reaper evicted",
              reaper.counts.evicted);
  add_counter(families, "mpoolfs_reaper_skipped_pages_total",
              "Pages that an eviction left, because they are mapped", reaper.counts.skipped);
  add_counter(families, "mpoolfs_reaper_over_evicted_pages_total",
              "Evicted pages that came back within the time to live", reaper.counts.over_evicted);
  add_gauge(families, "mpoolfs_reaper_evicting", "1 while memory is short", reaper.evicts ? 1 : 0);
  Facts(families, "mpoolfs_reaper_ttl_seconds", "How long unused cold pages stay",
        MetricType::Gauge)
      .add_fraction(seconds(reaper.ttl));
  add_gauge(families, "mpoolfs_reaper_free_bytes", "Available memory without the tracked pages",
            reaper.free);
  add_gauge(families, "mpoolfs_reaper_low_bytes", "Watermark of free memory: evicting begins below",
            reaper.low);
  add_gauge(families, "mpoolfs_reaper_high_bytes", "Watermark of free memory: evicting ends above",
            reaper.high);
}

void add_jobs(const Pool& pool, Families& families) {
  Facts bytes(families, "mpoolfs_job_bytes_total", "I/O of the work in the background",
              MetricType::Counter);
  for (const mpool::JobInfo& job : pool.jobs().list())
    bytes.add(job.bytes, {{"job", job.options.name}});
}

}  // namespace

std::string metrics_text(const Pool& pool, const MountInfo& mount) {
  Families families;
  Facts(families, "mpoolfs_pool_info", "1; the labels say which pool is mounted where",
        MetricType::Gauge)
      .add(1, {{"pool", pool.name()},
               {"uuid", pool.uuid().to_string()},
               {"mounted_on", mount.options.mount_point},
               {"version", MPOOLFS_VERSION}});
  add_counted(pool.metrics(), families);
  add_space(pool, families);
  add_objects(pool, families);
  add_packs(mount.packs, families);
  add_mdcs(pool, mount.metadata, families);
  add_native(mount.native, families);
  add_reaper(mount.reaper, families);
  add_jobs(pool, families);
  add_gauge(families, "mpoolfs_open_files", "Files that programs have open", mount.open_files);
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace mpoolfs

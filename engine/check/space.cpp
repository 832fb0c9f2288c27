// Owners of zones, and the content of their objects.
#include <algorithm>

#include "engine/base/error.h"
#include "engine/check/logs.h"
#include "engine/check/metadata.h"

namespace mpool::check {
namespace {

constexpr std::size_t kReadSize = 1u << 20;

struct Owner {
  std::uint64_t first = 0;  // zone
  std::uint64_t count = 0;  // zones
  std::string name;
  std::uint64_t end() const { return first + count; }
};

// The owners of zones of a class, ordered by zone.
std::vector<Owner> owners(const Metadata& metadata, const std::vector<ObjectRecord>& objects,
                          MediaClass media_class) {
  std::vector<Owner> owners;
  const auto& params = metadata.properties.devices[index_of(media_class)];
  owners.push_back({0, params->superblock_zones(), "the superblocks"});
  const auto& capacity = metadata.members[index_of(MediaClass::capacity)];
  if (media_class == MediaClass::capacity) {
    for (unsigned i = 0; i < 2; ++i) {
      const Layout& layout = capacity->superblock.mdc0->halves[i].layout;
      owners.push_back({layout.first_zone, layout.zone_count,
                        fmt::format("mlog {} (of MDC0)", mdc_log_id(0, i).to_string())});
    }
  }
  for (const ObjectRecord& object : objects) {
    if (object.media_class != media_class) continue;
    owners.push_back(
        {object.layout.first_zone, object.layout.zone_count,
         fmt::format("{} {}", object.id.is_mblock() ? "mblock" : "mlog", object.id.to_string())});
  }
  std::ranges::sort(owners, {}, [](const Owner& owner) { return owner.first; });
  return owners;
}

void read_mblock(const ObjectRecord& mblock, const Member& member, ByteSpan buffer) {
  const std::uint64_t zone_size = member.superblock.device.zone_size();
  const std::uint64_t start = mblock.layout.first_zone * zone_size;
  const std::uint64_t length = round_up(mblock.written_length, kPageSize);
  for (std::uint64_t done = 0; done < length; done += buffer.size()) {
    member.device->read(start + done, buffer.first(static_cast<std::size_t>(
                                          std::min<std::uint64_t>(buffer.size(), length - done))));
  }
}

void check_mblocks(const Metadata& metadata, const std::vector<ObjectRecord>& objects,
                   Report& report) {
  AlignedBuffer buffer(kReadSize);
  std::uint64_t total = 0;
  for (const ObjectRecord& object : objects)
    total += object.written_length;
  std::uint64_t done = 0;
  for (const ObjectRecord& object : objects) {
    const auto& member = metadata.members[index_of(object.media_class)];
    if (!object.id.is_mblock() || !member) continue;
    try {
      read_mblock(object, *member, buffer.span());
    } catch (const Error& error) {
      report.error(Area::content,
                   fmt::format("mblock {} of {}", object.id.to_string(), metadata.pool),
                   error.what(), "restore the files that it belongs to from a backup");
    }
    done += object.written_length;
    report.progress("MiB of mblocks", done >> 20, total >> 20);
  }
}

}  // namespace

void check_space(const Metadata& metadata, Report& report) {
  std::vector<ObjectRecord> objects = metadata.objects();
  if (!metadata.slots.empty()) metadata.slots.front()->objects.collect_committed(objects);
  for (const MediaClass media_class : {MediaClass::capacity, MediaClass::staging}) {
    if (!metadata.properties.devices[index_of(media_class)]) continue;
    const std::vector<Owner> sorted = owners(metadata, objects, media_class);
    const Owner* furthest = &sorted.front();  // of those so far, the one that ends last
    for (const Owner& owner : std::span(sorted).subspan(1)) {
      if (owner.first < furthest->end()) {
        report.error(Area::metadata, metadata.pool,
                     fmt::format("zone {} of the {} device belongs to {} and to {}", owner.first,
                                 to_string(media_class), furthest->name, owner.name),
                     "one of the two holds the other's content; the pool cannot be activated: copy "
                     "its devices, then restore from a backup");
      }
      if (owner.end() > furthest->end()) furthest = &owner;
    }
  }
}

void check_content(const Metadata& metadata, Report& report) {
  const std::vector<ObjectRecord> objects = metadata.objects();
  Result& result = report.result();
  for (const ObjectRecord& object : objects)
    ++(object.id.is_mblock() ? result.mblocks : result.mlogs);
  std::uint64_t done = 0;
  for (const ObjectRecord& object : objects) {
    if (!object.id.is_mlog()) continue;
    report.progress("logs", ++done, result.mlogs);
    // The root MDC is examined with the tree.
    if (object.id == root_log_id(0) || object.id == root_log_id(1)) continue;
    if (const auto location = metadata.location_of(object)) examine_log(report, *location);
  }
  if (report.options().data) check_mblocks(metadata, objects, report);
}

}  // namespace mpool::check

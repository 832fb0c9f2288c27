#include "engine/check/check.h"

#include <algorithm>
#include <utility>

#include "engine/base/error.h"
#include "engine/check/device_reference.h"
#include "engine/check/metadata.h"
#include "engine/check/names.h"
#include "engine/check/report.h"
#include "engine/check/superblocks.h"
#include "engine/io/overlay_device.h"
#include "engine/names/namespace.h"
#include "engine/pool/superblock_store.h"

namespace mpool::check {
namespace {

using Devices = std::span<const std::unique_ptr<Device>>;

// The devices as they would be with valid superblocks; writes do not reach them.
std::vector<std::unique_ptr<Device>> overlays(Devices devices, const Plan& plan) {
  std::vector<std::unique_ptr<Device>> overlays;
  for (const auto& device : devices) {
    overlays.push_back(std::make_unique<OverlayDevice>(std::make_unique<DeviceReference>(*device)));
  }
  for (const Plan::Superblocks& repair : plan.superblocks)
    write_superblock(*overlays[repair.device], repair.right);
  return overlays;
}

std::uint64_t written(const Pool& pool) {
  std::uint64_t writes = 0;
  for (const MediaClass media_class : pool.classes())
    writes += pool.device(media_class).counters().writes;
  return writes;
}

// Finds faults that only a trial shows: activates the pool, and mounts it, over devices in memory.
// A contradiction to the earlier findings is a finding of its own.
void rehearse(Devices devices, Report& report) {
  Result& result = report.result();
  const bool mount = result.plan.tree_is_ours;
  auto memory = overlays(devices, result.plan);
  std::uint64_t before = 0;
  for (const auto& device : memory)
    before += device->counters().writes;
  const std::string name = "pool " + result.pool_name;
  Area area = Area::metadata;
  try {
    // Findings contain what it would log.
    const auto pool = Pool::activate(std::move(memory));
    if (written(*pool) != before && result.unfinished == 0) {
      report.unfinished(area, name, "the last activation ended in the middle of a step",
                        "finishing it");
    }
    area = Area::tree;
    if (mount) Namespace::mount(*pool, {});
  } catch (const Error& error) {
    report.error(area, name,
                 fmt::format("{} it fails: {}",
                             mount && area == Area::tree ? "mounting" : "activating", error.what()),
                 "copy the pool's devices, then restore from a backup");
  }
}

void plan_repair(Report& report) {
  Plan& plan = report.result().plan;
  if (!report.can_finish()) {
    plan.obstacle =
        "While there are errors that cannot be repaired, nothing but superblocks is written.";
    plan.activation.clear();
    plan.mount.clear();
  }
}

void check_pool(Devices devices, Report& report) {
  const Members members = check_superblocks(devices, report);
  if (!members[index_of(MediaClass::capacity)]) {
    if (report.errors(Area::superblocks) == 0) {
      report.error(Area::superblocks, "pool " + report.result().pool_name,
                   "its capacity device is missing",
                   "give all devices of the pool; without this one nothing more can be checked");
    }
    return;
  }
  const Metadata metadata = check_metadata(members, report);
  if (metadata.slots.empty()) return;
  check_space(metadata, report);
  check_content(metadata, report);
  report.result().plan.tree_is_ours = check_names(metadata, report);
  if (report.can_finish()) rehearse(devices, report);
}

}  // namespace

Result check(Devices devices, const Options& options) {
  Result result;
  Report report(options, result);
  check_pool(devices, report);
  plan_repair(report);
  report.close();
  return result;
}

std::size_t repair(Devices devices, const Plan& plan,
                   const std::function<void(const std::string&)>& announce) {
  std::size_t steps = 0;
  const auto step = [&](const std::string& text) {
    announce(text);
    ++steps;
  };
  for (const Plan::Superblocks& repair : plan.superblocks) {
    step(repair.text);
    write_superblock(*devices[repair.device], repair.right);
  }
  if (plan.activation.empty() && plan.mount.empty()) return steps;
  for (const std::string& text : plan.activation)
    step(text);
  std::vector<std::unique_ptr<Device>> references;
  for (const auto& device : devices)
    references.push_back(std::make_unique<DeviceReference>(*device));
  const auto pool = Pool::activate(std::move(references));
  for (const std::string& text : plan.mount)
    step(text);
  if (plan.mount.empty()) return steps;
  if (plan.tree_is_ours) {
    Namespace::mount(*pool, {});
  } else {
    // Opening the pair finishes its compaction; a mount would initialize an empty one.
    pool->open_root_mdc();
  }
  return steps;
}

}  // namespace mpool::check

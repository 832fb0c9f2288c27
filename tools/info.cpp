// mpool info: the parts of a pool and their usage.
#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <ostream>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/base/size.h"
#include "tools/command_line.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/pool_access.h"
#include "tools/print.h"
#include "tools/table.h"

namespace mpool::tools {

namespace {

std::string state_of(const SuperblockPair& pair, std::size_t copy) {
  return pair.copies[copy] ? "good" : pair.faults[copy];
}

struct Counts {
  std::uint64_t mblocks = 0;
  std::uint64_t mlogs = 0;
};

Counts count_objects(const Pool& pool) {
  const auto objects = pool.objects();
  const auto mblocks = static_cast<std::uint64_t>(
      std::ranges::count_if(objects, [](const ObjectRecord& o) { return o.id.is_mblock(); }));
  return {.mblocks = mblocks, .mlogs = objects.size() - mblocks};
}

// The available information. Without `pool` only the superblocks: the pool is active or damaged.
struct Findings {
  std::vector<DeviceSuperblocks> devices;
  std::unique_ptr<Pool> pool;
  bool active = false;
  std::optional<Error> failure;  // why a pool that is not active cannot be activated
};

Findings look_at(const std::vector<std::string>& paths) {
  Findings findings{.devices = peek_superblocks(paths), .pool = nullptr, .failure = std::nullopt};
  require_one_pool(findings.devices);
  try {
    findings.pool = inspect_pool(paths);
  } catch (const Error& error) {
    findings.active = error.code() == EBUSY;
    if (!findings.active) findings.failure = error;
  }
  return findings;
}

Json to_json(const Findings& findings) {
  const auto& devices = findings.devices;
  const Pool* pool = findings.pool.get();
  const Superblock& first = require_superblock(devices.front());
  Json result;
  if (pool != nullptr) {
    result["pool"] = pool_json(*pool);
  } else {
    result["pool"] = {{"name", first.pool_name}, {"uuid", first.pool_uuid.to_string()}};
  }
  result["pool"]["active"] = findings.active;
  if (findings.failure) result["pool"]["error"] = findings.failure->what();
  result["devices"] = Json::array();
  for (const DeviceSuperblocks& device : devices) {
    Json entry = device_json(device.path, require_superblock(device).device);
    entry["superblocks"] = {state_of(device.pair, 0), state_of(device.pair, 1)};
    result["devices"].push_back(std::move(entry));
  }
  if (pool == nullptr) return result;
  const Counts counts = count_objects(*pool);
  result["space"] = space_json(*pool);
  result["spares"] = spares_json(*pool);
  result["config"] = config_json(*pool);
  result["objects"] = {{"mblocks", counts.mblocks}, {"mlogs", counts.mlogs}};
  return result;
}

void print_devices(std::ostream& out, const std::vector<DeviceSuperblocks>& devices) {
  Table table({"DEVICE", "CLASS", "UUID", "SIZE", "SECTOR", "ZONE", "ZONES", "SUPERBLOCKS"});
  for (const DeviceSuperblocks& device : devices) {
    const DeviceParams& params = require_superblock(device).device;
    table.add({device.path, std::string(to_string(params.media_class)), params.uuid.to_string(),
               format_size(params.device_size), std::to_string(params.sector_size()),
               format_size(params.zone_size()), std::to_string(params.zone_count),
               fmt::format("{}, {}", state_of(device.pair, 0), state_of(device.pair, 1))});
  }
  table.print(out);
}

void print_space(std::ostream& out, const Pool& pool) {
  Table table({"CLASS", "ZONES", "USABLE", "USED", "FREE", "SPARE", "FREE SPARE", "FREE BYTES"});
  for (const MediaClass media_class : pool.classes()) {
    const Pool::ClassInfo info = pool.class_info(media_class);
    const SpaceUsage& space = info.space;
    table.add({std::string(to_string(media_class)), std::to_string(space.total),
               std::to_string(space.usable), std::to_string(space.used),
               std::to_string(space.free_usable),
               fmt::format("{} ({} %)", space.spare, info.spare_percent),
               std::to_string(space.free_spare),
               format_size(space.free_usable * info.params.zone_size())});
  }
  table.print(out);
}

void print_config(std::ostream& out, const Pool& pool) {
  const ConfigRecord config = pool.config();
  if (config == ConfigRecord{}) {
    print_escaped(out, "config    none\n");
    return;
  }
  print_escaped(out, "config    label \"{}\", owner {}:{}, mode {:04o}, root MDC {}\n",
                config.label, config.uid, config.gid, config.mode,
                format_size(config.mdc_capacity));
}

void print_text(std::ostream& out, const Findings& findings) {
  const Superblock& first = require_superblock(findings.devices.front());
  print_escaped(out, "pool      {}\nUUID      {}\nactive    {}\n", first.pool_name,
                first.pool_uuid.to_string(),
                findings.active ? "yes (only what the superblocks tell is shown)" : "no");
  if (findings.pool) {
    const Counts counts = count_objects(*findings.pool);
    print_config(out, *findings.pool);
    print_escaped(out, "MDCs      {}\nobjects   {} mblocks, {} mlogs\n",
                  findings.pool->mdcs().size() - 1, counts.mblocks, counts.mlogs);
  }
  print_escaped(out, "\n");
  print_devices(out, findings.devices);
  if (findings.pool) {
    print_escaped(out, "\n");
    print_space(out, *findings.pool);
  }
}

}  // namespace

int run_info(Context& context, Arguments arguments) {
  CommandLine line(
      "mpool info [OPTIONS] POOL",
      "Shows the devices, space, settings and object counts of POOL (a name, UUID=…, or "
      "device\npaths joined with ','). Changes nothing. Of an active pool only the "
      "superblocks are shown.",
      {.names = "POOL", .least = 1, .most = 1});
  line.add_switch("json", "print JSON");
  if (!line.parse(context, arguments)) return kSuccess;

  const Findings findings = look_at(resolve(line.operands().front()));
  if (line.has("json")) {
    print_json(context.out, to_json(findings));
  } else {
    print_text(context.out, findings);
  }
  if (findings.failure) throw *findings.failure;
  return kSuccess;
}

}  // namespace mpool::tools

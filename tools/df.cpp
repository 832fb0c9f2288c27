// mpool df: usage of pools, each class and in total, mounted or not.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <limits>
#include <map>
#include <ostream>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/base/size.h"
#include "engine/io/probe.h"
#include "tools/command_line.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/mounted.h"
#include "tools/pool_access.h"
#include "tools/print.h"
#include "tools/table.h"

namespace mpool::tools {

namespace {

// A pool to show, and its name in messages.
struct UsageTarget {
  std::string name;
  std::vector<std::string> paths;
};

// Sizes in bytes, and the numbers of zones that they come from.
constexpr std::array kSizes = {std::pair("total_bytes", "zones"), std::pair("used_bytes", "used"),
                               std::pair("free_bytes", "free"),
                               std::pair("spare_bytes", "free_spare")};

// A class's zones, with the bytes that status.json has in addition.
Json with_bytes(Json row) {
  const std::uint64_t zone_size = row.at("zone_size");
  for (const auto& [bytes, zones] : kSizes)
    row[bytes] = row.at(zones).get<std::uint64_t>() * zone_size;
  return row;
}

Json total_of(const Json& classes) {
  Json total;
  for (const auto& [bytes, zones] : kSizes) {
    std::uint64_t sum = 0;
    for (const Json& row : classes)
      sum += row.at(bytes).get<std::uint64_t>();
    total[bytes] = sum;
  }
  return total;
}

// {pool: {name, uuid}, mounted_on, classes, total}
Json usage_of(const UsageTarget& target) {
  const auto superblocks = peek_superblocks(target.paths);
  require_one_pool(superblocks);
  const Superblock& superblock = require_superblock(superblocks.front());
  Json usage = {
      {"pool", {{"name", superblock.pool_name}, {"uuid", superblock.pool_uuid.to_string()}}},
      {"mounted_on", nullptr}};
  Json rows;
  if (const auto mounted = find_mounted(target.paths, superblock)) {
    if (mounted->status.is_null()) {
      raise(ETIMEDOUT, "pool " + superblock.pool_name,
            "is mounted on {}, whose mpoolfs does not answer", mounted->mount_point);
    }
    usage["mounted_on"] = mounted->mount_point;
    rows = mounted->status.at("classes");
  } else {
    rows = space_json(*inspect_idle_pool(target.paths));
  }
  Json classes = Json::array();
  for (Json& row : rows)
    classes.push_back(with_bytes(std::move(row)));
  Json total = total_of(classes);
  usage["classes"] = std::move(classes);
  usage["total"] = std::move(total);
  return usage;
}

// Of the space available to users, as in df(1): rounded up.
std::string percent_used(const Json& row) {
  const std::uint64_t used = row.at("used_bytes");
  const std::uint64_t all = used + row.at("free_bytes").get<std::uint64_t>();
  const double percent =
      all == 0 ? 100 : 100 * static_cast<double>(used) / static_cast<double>(all);
  return fmt::format("{:.0f}%", std::ceil(percent));
}

void print_table(std::ostream& out, const Json& usages) {
  if (usages.empty()) return;
  Table table({"POOL", "CLASS", "SIZE", "USED", "FREE", "SPARE", "USE%", "MOUNTED ON"});
  for (const Json& usage : usages) {
    const auto add = [&](const std::string& name, const Json& row) {
      const auto size = [&](const char* key) { return format_size(row.at(key)); };
      table.add({usage.at("pool").at("name"), name, size("total_bytes"), size("used_bytes"),
                 size("free_bytes"), size("spare_bytes"), percent_used(row),
                 usage.at("mounted_on").is_null() ? "-" : usage.at("mounted_on")});
    };
    const Json& classes = usage.at("classes");
    for (const Json& row : classes)
      add(row.at("class"), row);
    if (classes.size() > 1) add("total", usage.at("total"));
  }
  table.print(out);
}

// The pools on the block devices of the machine, each once.
std::vector<UsageTarget> all_pools() {
  // Further copies of a device make further targets.
  std::map<std::pair<Uuid, unsigned>, UsageTarget> pools;
  std::map<Uuid, unsigned> copies;
  for (const FoundDevice& found : scan_devices(list_block_devices())) {
    const unsigned copy = copies[found.superblock.device.uuid]++;
    UsageTarget& target = pools[{found.superblock.pool_uuid, copy}];
    target.name = found.superblock.pool_name;
    target.paths.push_back(found.path);
  }
  std::vector<UsageTarget> targets;
  for (auto& [uuid, target] : pools)
    targets.push_back(std::move(target));
  std::ranges::sort(targets, {}, &UsageTarget::name);
  return targets;
}

}  // namespace

int run_df(Context& context, Arguments arguments) {
  CommandLine line("mpool df [OPTIONS] [POOL...]",
                   "Shows how full each POOL (a name, UUID=…, or device paths joined with ',') is, "
                   "by media\nclass and in all, mounted or not; without POOL, all pools on the "
                   "block devices of\nthis machine. Changes nothing.",
                   {.names = "POOL", .most = std::numeric_limits<std::size_t>::max()});
  line.add_switch("json", "print JSON, sizes in bytes");
  if (!line.parse(context, arguments)) return kSuccess;

  std::vector<UsageTarget> targets;
  for (const std::string& operand : line.operands())
    targets.push_back({operand, {}});
  if (targets.empty()) targets = all_pools();
  Json usages = Json::array();
  bool failed = false;
  for (UsageTarget& target : targets) {
    try {
      if (target.paths.empty()) target.paths = resolve(target.name);
      usages.push_back(usage_of(target));
    } catch (const Error& error) {
      failed = true;
      print_escaped(context.err, "mpool df: {}\n", error.what());
    }
  }
  if (line.has("json")) {
    print_json(context.out, usages);
  } else {
    print_table(context.out, usages);
  }
  return failed ? kFailure : kSuccess;
}

}  // namespace mpool::tools

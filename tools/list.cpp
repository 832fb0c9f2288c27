// mpool list: the pools on block devices and in files, active ones too.
#include <algorithm>
#include <limits>
#include <ostream>

#include "engine/base/error.h"
#include "engine/base/size.h"
#include "engine/io/probe.h"
#include "engine/pool/discovery.h"
#include "tools/command_line.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/pool_access.h"
#include "tools/print.h"
#include "tools/table.h"

namespace mpool::tools {

namespace {

Json to_json(const std::vector<FoundDevice>& devices) {
  Json result = Json::array();
  for (const FoundDevice& device : devices) {
    const Superblock& superblock = device.superblock;
    result.push_back({{"name", superblock.pool_name},
                      {"uuid", superblock.pool_uuid.to_string()},
                      {"class", to_string(superblock.device.media_class)},
                      {"size", superblock.device.device_size},
                      {"active", device.active},
                      {"device", device.path}});
  }
  return result;
}

void print_table(std::ostream& out, const std::vector<FoundDevice>& devices) {
  if (devices.empty()) return;
  Table table({"NAME", "UUID", "CLASS", "SIZE", "ACTIVE", "DEVICE"});
  for (const FoundDevice& device : devices) {
    const Superblock& superblock = device.superblock;
    table.add({superblock.pool_name, superblock.pool_uuid.to_string(),
               std::string(to_string(superblock.device.media_class)),
               format_size(superblock.device.device_size), device.active ? "yes" : "no",
               device.path});
  }
  table.print(out);
}

// Reports the fault of each named device without a pool.
bool complain_about_missing(Context& context, const std::vector<std::string>& paths,
                            const std::vector<FoundDevice>& found,
                            const std::vector<std::string>& unreadable) {
  bool missing = false;
  for (const std::string& path : paths) {
    if (std::ranges::find(found, path, &FoundDevice::path) != found.end()) continue;
    if (std::ranges::find(unreadable, path) != unreadable.end()) continue;
    missing = true;
    try {
      require_superblock(peek_superblocks({path}).front());
      print_escaped(context.err, "mpool list: {}: changed while it was looked at\n", path);
    } catch (const Error& error) {
      print_escaped(context.err, "mpool list: {}\n", error.what());
    }
  }
  return missing;
}

}  // namespace

int run_list(Context& context, Arguments arguments) {
  CommandLine line("mpool list [OPTIONS] [DEV...]",
                   "Lists the pools found on the block devices or files DEV, one line for each "
                   "device;\nwithout DEV, on all block devices of this machine.",
                   {.names = "DEV", .most = std::numeric_limits<std::size_t>::max()});
  line.add_switch("json", "print JSON");
  if (!line.parse(context, arguments)) return kSuccess;

  const bool named = !line.operands().empty();
  const std::vector<std::string> paths = named ? line.operands() : list_block_devices();
  std::vector<std::string> unreadable;
  const auto note = [&](const std::string& path, const std::string& reason) {
    unreadable.push_back(path);
    if (named) print_escaped(context.err, "mpool list: {}\n", reason);
  };
  const auto found = scan_devices(paths, note, engine_logger());
  if (line.has("json")) {
    print_json(context.out, to_json(found));
  } else {
    print_table(context.out, found);
  }
  const bool missing = named && complain_about_missing(context, paths, found, unreadable);
  return named && (missing || !unreadable.empty()) ? kFailure : kSuccess;
}

}  // namespace mpool::tools

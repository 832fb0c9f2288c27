// mpool add: gives a pool a staging device.
#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <ostream>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/base/size.h"
#include "tools/claim.h"
#include "tools/command_line.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/pool_access.h"
#include "tools/print.h"

namespace mpool::tools {

namespace {

CommandLine add_command_line() {
  CommandLine line(
      "mpool add [OPTIONS] POOL DEV",
      "Adds the block device or file DEV to POOL (a name, UUID=…, or a device path) as its\n"
      "staging device. A device or file on which anything is recognised is refused, unless\n"
      "it is DEV of an `mpool add` that was interrupted.",
      {.names = "POOL DEV", .least = 2, .most = 2});
  line.add_value("size", "SIZE", "make DEV as an image file of this size; it must not exist");
  line.add_value("zone-size", "SIZE",
                 "zone size of DEV, a power of two from 4K to 1G; default by its size, at most "
                 "32M");
  line.add_value("spare", "PCT", "percent of the zones of DEV kept as spares; default 5");
  line.add_switch("json", "print what the pool has now as JSON");
  line.add_switch("force", "overwrite what is on DEV; a device in use is refused all the same");
  return line;
}

// The devices of the pool without the device to be added, which a lookup may have found, too.
std::vector<std::string> paths_without(const std::string& operand, const std::string& added) {
  std::vector<std::string> paths = resolve(operand);
  std::erase_if(paths, [&](const std::string& path) { return same_file(path, added); });
  if (paths.empty()) raise(EINVAL, added, "is a device of pool {} already", operand);
  return paths;
}

// True if the device has a superblock of the pool, but the pool does not know it.
bool was_half_added(const Pool& pool, const std::string& path) {
  const auto superblocks = peek_superblocks({path});
  const auto& chosen = superblocks.front().pair.chosen;
  return chosen && chosen->pool_uuid == pool.uuid() &&
         chosen->device.media_class == MediaClass::staging;
}

void add_device(Pool& pool, const CommandLine& line) {
  const std::string& path = line.operands()[1];
  std::optional<NewImage> image;
  if (const auto size = line.size("size")) image.emplace(path, *size);
  const bool force = line.has("force");
  const bool again = !force && std::filesystem::exists(path) && was_half_added(pool, path);
  auto device = claim_device(path, force || again);
  if (force) wipe_device(device);
  try {
    pool.add_staging(std::move(device), line.size("zone-size"));
  } catch (const Error& error) {
    // The pool may know the device already.
    if (image && error.code() == EIO) image->keep();
    throw;
  }
  if (image) image->keep();
}

}  // namespace

int run_add(Context& context, Arguments arguments) {
  CommandLine line = add_command_line();
  if (!line.parse(context, arguments)) return kSuccess;
  const std::string& path = line.operands()[1];
  const auto spare = line.number("spare", 0, 100);

  const auto pool = activate_for_change(paths_without(line.operands()[0], path));
  if (pool->has_class(MediaClass::staging)) {
    raise(EEXIST, "pool " + pool->name(), "has a staging device already: {}",
          pool->class_info(MediaClass::staging).device_name);
  }
  add_device(*pool, line);
  if (spare) pool->set_spare_percent(MediaClass::staging, *spare);

  if (line.has("json")) {
    print_json(context.out, summary_json(*pool));
    return kSuccess;
  }
  const Pool::ClassInfo info = pool->class_info(MediaClass::staging);
  const std::uint64_t zone_size = info.params.zone_size();
  print_escaped(context.out, "Pool {} has a staging device: {}, {}, zones of {}, {} free\n",
                pool->name(), path, format_size(info.params.device_size), format_size(zone_size),
                format_size(info.space.free_usable * zone_size));
  return kSuccess;
}

}  // namespace mpool::tools

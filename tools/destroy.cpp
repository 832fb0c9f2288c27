// mpool destroy: wipes the superblocks of a pool that is not active.
#include <cerrno>
#include <istream>
#include <ostream>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/pool/path_list.h"
#include "fuse/client/registry.h"
#include "tools/command_line.h"
#include "tools/commands.h"
#include "tools/pool_access.h"
#include "tools/print.h"

namespace mpool::tools {

namespace {

struct DestroyTarget {
  std::string name;
  Uuid uuid;
  std::vector<std::string> paths;
};

// The content that would be lost, as far as it is known.
std::string content_of(const DestroyTarget& target, bool force) {
  try {
    const auto pool = inspect_pool(target.paths);
    return fmt::format("{} objects", pool->objects().size());
  } catch (const Error& error) {
    if (error.code() == EBUSY) throw;
    if (!force) {
      raise(error.code(), error.subject(), "{}; --force destroys what is there", error.detail());
    }
    return "content unknown";
  }
}

// Asks on the terminal. UsageError without a terminal.
bool confirmed(Context& context, const DestroyTarget& target, const std::string& content) {
  if (!context.in_is_terminal) {
    throw UsageError("give --yes to confirm that the pool and all its data are to be destroyed");
  }
  print_escaped(context.err,
                "This destroys pool {} (UUID {}, {}) on {}.\n"
                "Type the pool's name to go on: ",
                target.name, target.uuid.to_string(), content, join_paths(target.paths));
  context.err.flush();
  std::string answer;
  std::getline(context.in, answer);
  return answer == target.name;
}

// The devices may have changed before the answer.
void check_unchanged(const DestroyTarget& target,
                     std::span<const std::unique_ptr<Device>> devices) {
  for (const auto& device : devices) {
    const SuperblockPair pair = read_superblocks(*device);
    if (!pair.chosen || pair.chosen->pool_uuid != target.uuid) {
      raise(EINVAL, device->name(), "no longer belongs to pool {} (UUID {}); nothing was changed",
            target.name, target.uuid.to_string());
    }
  }
}

}  // namespace

int run_destroy(Context& context, Arguments arguments) {
  CommandLine line(
      "mpool destroy [OPTIONS] POOL",
      "Destroys POOL (a name, UUID=…, or device paths joined with ','): all its data is "
      "lost.\nAn active pool is never destroyed.",
      {.names = "POOL", .least = 1, .most = 1});
  line.add_switch("force", "also when a device is missing or the metadata is damaged");
  line.add_switch("yes", "do not ask");
  if (!line.parse(context, arguments)) return kSuccess;

  // --force destroys the content of the named devices, and of no other.
  const auto others = line.has("force") ? OtherDevices::leave : OtherDevices::find;
  DestroyTarget target{.name = {}, .uuid = {}, .paths = resolve(line.operands().front(), others)};
  const auto superblocks = peek_superblocks(target.paths);
  require_one_pool(superblocks);
  target.name = require_superblock(superblocks.front()).pool_name;
  target.uuid = require_superblock(superblocks.front()).pool_uuid;

  const std::string content = content_of(target, line.has("force"));
  if (!line.has("yes") && !confirmed(context, target, content)) {
    print_escaped(context.err, "mpool destroy: not confirmed; nothing was changed\n");
    return kFailure;
  }
  const auto devices = open_devices(target.paths, OpenMode::activate);
  check_unchanged(target, devices);
  destroy_pool(devices);
  libmpool::forget_destroyed(target.uuid);
  print_escaped(context.out, "Pool {} (UUID {}) on {} is destroyed.\n", target.name,
                target.uuid.to_string(), join_paths(target.paths));
  return kSuccess;
}

}  // namespace mpool::tools

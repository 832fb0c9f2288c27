#include "tools/pool_access.h"

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "engine/base/error.h"
#include "engine/io/open.h"
#include "engine/io/overlay_device.h"
#include "fuse/client/registry.h"
#include "tools/mounted.h"

namespace mpool::tools {

namespace {

using Devices = std::vector<std::unique_ptr<Device>>;

std::unique_ptr<Pool> activate_in_memory(Devices devices, OnDamage on_damage) {
  Devices overlays;
  for (auto& device : devices)
    overlays.push_back(std::make_unique<OverlayDevice>(std::move(device)));
  ActivateOptions options;
  options.on_damage = on_damage;
  options.logger = engine_logger();
  return Pool::activate(std::move(overlays), options);
}

// The devices of an active pool, which may be files; empty: there is none. The registry is the word
// of the pool's owner: the superblocks decide.
std::vector<std::string> find_active_devices(const std::string& pool) {
  const auto wanted = match_pool(pool);
  for (const libmpool::ActivePool& active : libmpool::list_active()) {
    try {
      const auto superblocks = peek_superblocks(active.devices);
      require_one_pool(superblocks);
      if (wanted(require_superblock(superblocks.front()))) return active.devices;
    } catch (const Error&) {
      // Its devices are gone, or have no pool any more.
    }
  }
  return {};
}

}  // namespace

Logger engine_logger() {
  return spdlog::default_logger();
}

std::vector<std::string> resolve(const std::string& pool, OtherDevices others) {
  try {
    return resolve_pool(pool, others, engine_logger());
  } catch (const Error& error) {
    if (error.code() != ENODEV) throw;
    auto paths = find_active_devices(pool);
    if (paths.empty()) throw;
    return paths;
  }
}

Devices open_devices(const std::vector<std::string>& paths, OpenMode mode) {
  return open_pool_devices(paths, mode, {.logger = engine_logger()});
}

Devices open_idle_devices(const std::vector<std::string>& paths, OpenMode mode) {
  try {
    return open_devices(paths, mode);
  } catch (const Error& error) {
    if (error.code() != EBUSY) throw;
    for (const DeviceSuperblocks& device : peek_superblocks(paths)) {
      if (!device.pair.chosen) continue;
      const auto mounted = find_mounted(paths, *device.pair.chosen);
      if (!mounted) continue;
      raise(EBUSY, "pool " + device.pair.chosen->pool_name, "is mounted on {}: unmount it first",
            mounted->mount_point);
    }
    throw;
  }
}

std::unique_ptr<Pool> inspect_pool(const std::vector<std::string>& paths, OnDamage on_damage) {
  return activate_in_memory(open_devices(paths, OpenMode::inspect), on_damage);
}

std::unique_ptr<Pool> inspect_idle_pool(const std::vector<std::string>& paths) {
  require_one_pool(peek_superblocks(paths));
  return activate_in_memory(open_idle_devices(paths, OpenMode::inspect), OnDamage::refuse);
}

std::unique_ptr<Pool> activate_for_change(const std::vector<std::string>& paths) {
  require_one_pool(peek_superblocks(paths));
  return Pool::activate(open_idle_devices(paths, OpenMode::activate), {.logger = engine_logger()});
}

std::vector<DeviceSuperblocks> peek_superblocks(const std::vector<std::string>& paths) {
  std::vector<DeviceSuperblocks> result;
  for (const std::string& path : paths) {
    const auto device = open_device(path, OpenMode::peek);
    result.push_back({path, read_superblocks(*device)});
  }
  return result;
}

const Superblock& require_superblock(const DeviceSuperblocks& device) {
  if (!device.pair.chosen) {
    raise(EBADMSG, device.path, "no mpool found; superblock 0: {}; superblock 1: {}",
          device.pair.faults[0], device.pair.faults[1]);
  }
  return *device.pair.chosen;
}

void require_one_pool(const std::vector<DeviceSuperblocks>& devices) {
  const Superblock& first = require_superblock(devices.front());
  for (const DeviceSuperblocks& device : devices) {
    const Superblock& other = require_superblock(device);
    if (other.pool_uuid != first.pool_uuid) {
      raise(EINVAL, device.path, "belongs to pool {} (UUID {}), but {} to pool {} (UUID {})",
            other.pool_name, other.pool_uuid.to_string(), devices.front().path, first.pool_name,
            first.pool_uuid.to_string());
    }
  }
}

std::string mount_point_of(const std::string& operand, const char* refusal) {
  std::error_code ignored;
  if (std::filesystem::is_directory(operand, ignored)) return operand;
  const std::vector<std::string> paths = resolve(operand);
  const auto superblocks = peek_superblocks(paths);
  require_one_pool(superblocks);
  const Superblock& superblock = require_superblock(superblocks.front());
  const auto mounted = find_mounted(paths, superblock);
  if (!mounted) raise(ENOENT, "pool " + superblock.pool_name, "{}", refusal);
  return mounted->mount_point;
}

}  // namespace mpool::tools

#include "engine/pool/discovery.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string_view>

#include "engine/base/error.h"
#include "engine/io/file_device.h"
#include "engine/io/media_lock.h"
#include "engine/io/probe.h"
#include "engine/pool/path_list.h"
#include "engine/pool/superblock_store.h"

namespace mpool {
namespace {

constexpr std::string_view kUuidPrefix = "UUID=";

void read_copy(Device& device, std::size_t index, SuperblockPair& pair) {
  if (device.properties().size < kSuperblockAreaSize) {
    pair.faults[index] = fmt::format("the device has only {} bytes", device.properties().size);
    return;
  }
  AlignedBuffer block(kSuperblockSize);
  try {
    device.read(kSuperblockOffsets[index], block.span());
  } catch (const Error& error) {
    pair.faults[index] = error.what();
    return;
  }
  auto decoded = decode_superblock(block.span());
  if (decoded) {
    pair.copies[index] = std::move(*decoded);
  } else {
    pair.faults[index] = std::move(decoded.error().detail);
  }
}

// Two valid copies of one superblock: determines which location of MDC0 is right, and takes the
// greater generations.
void choose_mdc0(const DecodedSuperblock& first, const DecodedSuperblock& second,
                 SuperblockPair& pair) {
  const auto& a = *first.superblock.mdc0;
  const auto& b = *second.superblock.mdc0;
  const bool a_bad = first.mdc0_checksum == Mdc0Checksum::bad;
  const bool b_bad = second.mdc0_checksum == Mdc0Checksum::bad;
  pair.needs_repair = a != b || a_bad || b_bad;
  if (a.same_place(b)) {
    pair.mdc0_ambiguous = a_bad && b_bad;
    pair.chosen->mdc0 = a_bad ? b : a;
    if (a_bad || b_bad) return;
    for (std::size_t i = 0; i < a.halves.size(); ++i) {
      pair.chosen->mdc0->halves[i].generation =
          std::max(a.halves[i].generation, b.halves[i].generation);
    }
    return;
  }
  const bool a_good = first.mdc0_checksum == Mdc0Checksum::good;
  const bool b_good = second.mdc0_checksum == Mdc0Checksum::good;
  pair.mdc0_ambiguous = a_good == b_good;
  pair.chosen->mdc0 = b_good ? b : a;
}

bool is_locked(const std::string& path, const Logger& logger) {
  try {
    open_device(path, OpenMode::inspect, {.on_active = OnActive::fail, .logger = logger});
    return false;
  } catch (const Error& error) {
    return error.code() == EBUSY;
  }
}

bool names_a_file(const std::string& path) {
  std::error_code ignored;  // an inaccessible path is no device
  return std::filesystem::exists(path, ignored);
}

bool is_block_device(const std::string& path) {
  std::error_code ignored;  // an inaccessible path is no device
  return std::filesystem::is_block_file(path, ignored);
}

using Unreadable = std::function<void(const std::string& path, const std::string& reason)>;

Unreadable note_passed_over(const Logger& logger) {
  return [&logger](const std::string& path, const std::string& reason) {
    logger.debug("{}: passed over: {}", path, reason);
  };
}

// Adds the devices of the same pool on block devices. Excluded: copies of a present device (same
// UUID); of two copies of another device neither is known to be right.
void add_other_devices(std::vector<std::string>& paths, const Logger& logger) {
  if (!std::ranges::all_of(paths, is_block_device)) return;
  const auto named = peek_devices(paths, note_passed_over(logger));
  if (named.empty()) return;
  std::map<Uuid, std::vector<std::string>> others;
  for (FoundDevice& found : peek_devices(list_block_devices(), note_passed_over(logger))) {
    if (found.superblock.pool_uuid == named.front().superblock.pool_uuid) {
      others[found.superblock.device.uuid].push_back(std::move(found.path));
    }
  }
  for (const FoundDevice& found : named)
    others.erase(found.superblock.device.uuid);
  for (const auto& [uuid, copies] : others) {
    if (copies.size() == 1) {
      paths.push_back(copies.front());
    } else {
      logger.warn("device {} of pool {} is there {} times ({}): name the devices of the pool",
                  uuid.to_string(), named.front().superblock.pool_name, copies.size(),
                  join_paths(copies));
    }
  }
}

std::vector<std::string> find_devices(const std::string& pool, const Logger& logger) {
  const auto wanted = match_pool(pool);
  const auto found = peek_devices(list_block_devices(), note_passed_over(logger));
  std::set<Uuid> uuids;
  for (const FoundDevice& device : found) {
    if (wanted(device.superblock)) uuids.insert(device.superblock.pool_uuid);
  }
  if (uuids.empty()) raise(ENODEV, "pool " + pool, "not found on any block device");
  if (uuids.size() > 1) {
    std::string list;
    for (const Uuid& uuid : uuids)
      list += fmt::format(" UUID={}", uuid.to_string());
    raise(ENOTUNIQ, "pool " + pool, "several pools have this name:{}", list);
  }
  // Includes devices whose name an interrupted renaming has not reached yet.
  std::vector<std::string> paths;
  std::set<Uuid> members;
  for (const FoundDevice& device : found) {
    if (!uuids.contains(device.superblock.pool_uuid)) continue;
    if (!members.insert(device.superblock.device.uuid).second) {
      raise(ENOTUNIQ, "pool " + pool,
            "{} is a copy of one of its devices, or the same by another path: name the pool by its "
            "device paths",
            device.path);
    }
    paths.push_back(device.path);
  }
  return paths;
}

// A copy of a pool has other devices and the same UUID: data written to one in the belief that it
// is the other would be lost.
void lock_pool(FileDevice& device, const Superblock& superblock, const Logger& logger) {
  const std::string name = "pool-" + superblock.pool_uuid.to_string();
  MediaLock lock;
  const int code = lock.take(name, LockMode::exclusive, describe_holder(device.name()), logger);
  if (code == EBUSY) {
    const std::string holder = MediaLock::holder_of(name);
    raise(EBUSY, device.name(),
          "pool {} (UUID {}) is in use by other devices{}{}; a copy of a pool cannot be active "
          "beside it",
          superblock.pool_name, superblock.pool_uuid.to_string(), holder.empty() ? "" : ": ",
          holder);
  }
  if (code != 0) raise_system(code, device.name(), "flock");
  device.keep(std::move(lock));
}

// The pools of the devices, as far as their superblocks can be read.
void lock_pools(std::span<const std::unique_ptr<Device>> devices, const Logger& logger) {
  std::set<Uuid> locked;
  for (const auto& device : devices) {
    auto* const file = dynamic_cast<FileDevice*>(device.get());
    if (file == nullptr) continue;
    const SuperblockPair pair = read_superblocks(*device);
    if (pair.chosen && locked.insert(pair.chosen->pool_uuid).second) {
      lock_pool(*file, *pair.chosen, logger);
    }
  }
}

}  // namespace

SuperblockPair read_superblocks(Device& device) {
  SuperblockPair pair;
  for (std::size_t i = 0; i < pair.copies.size(); ++i)
    read_copy(device, i, pair);
  const auto& [first, second] = pair.copies;
  if (!first && !second) return pair;
  const DecodedSuperblock& leading = first ? *first : *second;
  pair.chosen = leading.superblock;
  pair.needs_repair = !first || !second || first->superblock != second->superblock;
  // A second copy of another pool or device is no information about this one.
  const bool both = first && second &&
                    first->superblock.pool_uuid == second->superblock.pool_uuid &&
                    first->superblock.device.uuid == second->superblock.device.uuid;
  if (!leading.superblock.mdc0) return pair;
  if (both && second->superblock.mdc0) {
    const bool repair = pair.needs_repair;
    choose_mdc0(*first, *second, pair);
    pair.needs_repair |= repair;
  } else {
    pair.mdc0_ambiguous = leading.mdc0_checksum == Mdc0Checksum::bad;
  }
  return pair;
}

std::vector<FoundDevice> peek_devices(std::span<const std::string> paths,
                                      const Unreadable& unreadable) {
  std::vector<FoundDevice> found;
  for (const std::string& path : paths) {
    try {
      SuperblockPair pair = read_superblocks(*open_device(path, OpenMode::peek));
      if (pair.chosen) found.push_back({.path = path, .superblock = std::move(*pair.chosen)});
    } catch (const Error& error) {
      if (unreadable) unreadable(path, error.what());
    }
  }
  return found;
}

std::vector<FoundDevice> scan_devices(
    std::span<const std::string> paths,
    const std::function<void(const std::string&, const std::string&)>& unreadable,
    const Logger& logger) {
  auto found = peek_devices(paths, unreadable);
  for (FoundDevice& device : found)
    device.active = is_locked(device.path, logger);
  return found;
}

std::function<bool(const Superblock&)> match_pool(const std::string& pool) {
  if (!pool.starts_with(kUuidPrefix)) {
    return [pool](const Superblock& found) { return found.pool_name == pool; };
  }
  const auto uuid = Uuid::parse(std::string_view(pool).substr(kUuidPrefix.size()));
  if (!uuid) raise(EINVAL, pool, "not a UUID");
  return [uuid](const Superblock& found) { return found.pool_uuid == *uuid; };
}

std::vector<std::string> resolve_pool(const std::string& pool, OtherDevices others,
                                      const Logger& logger) {
  if (pool.starts_with(kUuidPrefix)) return find_devices(pool, logger);
  // A comma in an existing path is not a separator.
  std::vector<std::string> paths =
      names_a_file(pool) ? std::vector<std::string>{pool} : split_paths(pool);
  if (paths.empty()) raise(EINVAL, "pool", "neither a name nor a device was given");
  if (pool.find('/') != std::string::npos || names_a_file(paths.front())) {
    if (others == OtherDevices::find) add_other_devices(paths, logger);
    return paths;
  }
  return find_devices(pool, logger);
}

std::vector<std::unique_ptr<Device>> open_pool_devices(const std::vector<std::string>& paths,
                                                       OpenMode mode, const OpenOptions& options) {
  std::vector<std::unique_ptr<Device>> devices;
  devices.reserve(paths.size());
  for (const std::string& path : paths)
    devices.push_back(open_device(path, mode, options));
  if (mode == OpenMode::activate) lock_pools(devices, options.logger);
  return devices;
}

void destroy_pool(std::span<const std::unique_ptr<Device>> devices) {
  for (const auto& device : devices)
    wipe_superblocks(*device);
}

}  // namespace mpool

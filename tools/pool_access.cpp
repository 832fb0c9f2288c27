#include "tools/pool_access.h"

#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/base/error.h"
#include "engine/device/open.h"
#include "engine/device/overlay_device.h"

namespace mpool::tools {

std::unique_ptr<Pool> inspect_pool(const std::vector<std::string>& paths) {
  std::vector<std::unique_ptr<Device>> overlays;
  for (auto& device : open_pool_devices(paths, OpenMode::inspect)) {
    overlays.push_back(std::make_unique<OverlayDevice>(std::move(device)));
  }
  return Pool::activate(std::move(overlays));
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

std::string joined(const std::vector<std::string>& paths) {
  return fmt::format("{}", fmt::join(paths, ","));
}

}  // namespace mpool::tools

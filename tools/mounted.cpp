#include "tools/mounted.h"

#include <algorithm>
#include <chrono>
#include <span>
#include <utility>

#include "engine/io/media_lock.h"
#include "fuse/mount_table.h"
#include "tools/bounded_read.h"

namespace mpool::tools {

namespace {

// A busy daemon answers within this time; a stopped one never does.
constexpr std::chrono::seconds kPatience{5};

Json status_of(const mpoolfs::MountEntry& mount) {
  const auto text = read_within(mount.mount_point + "/.mpool/status.json", kPatience);
  if (!text) return nullptr;
  Json status = Json::parse(*text, nullptr, false);
  return status.is_object() && status.contains("pool") ? status : Json(nullptr);
}

// As it was mounted: by its devices, or by its name or UUID.
bool lists_devices(const mpoolfs::MountEntry& mount) {
  return mount.source.find('/') != std::string::npos;
}

bool is_called(const mpoolfs::MountEntry& mount, const Superblock& superblock) {
  return mount.source == superblock.pool_name ||
         mount.source == "UUID=" + superblock.pool_uuid.to_string();
}

bool status_lists_device(const Json& status, std::span<const std::string> paths) {
  const Json devices = status.value("devices", Json::array());
  return std::ranges::any_of(
      devices, [&](const Json& device) { return is_media_of(device.value("path", ""), paths); });
}

}  // namespace

std::optional<MountedPool> find_mounted(const std::vector<std::string>& paths,
                                        const Superblock& superblock) {
  for (const mpoolfs::MountEntry& mount : mpoolfs::read_mounts()) {
    if (mount.type != mpoolfs::kMountType) continue;
    const bool certain = mpoolfs::lists_device(mount.source, paths);
    if (!certain && (lists_devices(mount) || !is_called(mount, superblock))) continue;
    Json status = status_of(mount);
    if (certain || status.is_null() || status_lists_device(status, paths)) {
      return MountedPool{mount.mount_point, std::move(status)};
    }
  }
  return std::nullopt;
}

}  // namespace mpool::tools

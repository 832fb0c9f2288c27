#include "tools/mounted.h"

#include <algorithm>
#include <chrono>
#include <ranges>
#include <set>
#include <utility>

#include "engine/device/media_lock.h"
#include "fuse/mounts.h"
#include "tools/bounded_read.h"

namespace mpool::tools {

namespace {

// A daemon that is busy answers within this; one that is stopped never does.
constexpr std::chrono::seconds kPatience{5};

using MediaNames = std::set<std::string>;

void add_media(const std::string& path, MediaNames& names) {
  for (std::string& name : media_names(path))
    names.insert(std::move(name));
}

bool has_media(const std::string& path, const MediaNames& names) {
  return std::ranges::any_of(media_names(path),
                             [&](const std::string& name) { return names.contains(name); });
}

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

bool source_has_media(const mpoolfs::MountEntry& mount, const MediaNames& names) {
  return std::ranges::any_of(std::views::split(mount.source, ','), [&](const auto& part) {
    return has_media(std::string(part.begin(), part.end()), names);
  });
}

bool is_called(const mpoolfs::MountEntry& mount, const Superblock& superblock) {
  return mount.source == superblock.pool_name ||
         mount.source == "UUID=" + superblock.pool_uuid.to_string();
}

bool status_has_media(const Json& status, const MediaNames& names) {
  const Json devices = status.value("devices", Json::array());
  return std::ranges::any_of(devices, [&](const Json& device) {
    return has_media(device.value("path", ""), names);
  });
}

}  // namespace

std::optional<MountedPool> find_mounted(const std::vector<std::string>& paths,
                                        const Superblock& superblock) {
  MediaNames names;
  for (const std::string& path : paths)
    add_media(path, names);
  for (const mpoolfs::MountEntry& mount : mpoolfs::read_mounts()) {
    if (mount.type != mpoolfs::kMountType) continue;
    const bool certain = lists_devices(mount) && source_has_media(mount, names);
    if (!certain && (lists_devices(mount) || !is_called(mount, superblock))) continue;
    Json status = status_of(mount);
    if (certain || status.is_null() || status_has_media(status, names)) {
      return MountedPool{mount.mount_point, std::move(status)};
    }
  }
  return std::nullopt;
}

}  // namespace mpool::tools

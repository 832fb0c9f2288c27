#include "tools/mounted.h"

#include <fstream>
#include <utility>

#include "fuse/mounts.h"

namespace mpool::tools {

std::optional<MountedPool> find_mounted(const Uuid& pool) {
  for (const mpoolfs::MountEntry& mount : mpoolfs::read_mounts()) {
    if (mount.type != mpoolfs::kMountType) continue;
    std::ifstream file(mount.mount_point + "/.mpool/status.json");
    Json status = Json::parse(file, nullptr, false);
    if (!status.is_object() || !status.contains("pool")) continue;
    if (status["pool"].value("uuid", "") == pool.to_string()) {
      return MountedPool{mount.mount_point, std::move(status)};
    }
  }
  return std::nullopt;
}

}  // namespace mpool::tools

// Pools that are mounted: what the table of mounts and their daemons say of them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/format/superblock.h"
#include "tools/facts.h"

namespace mpool::tools {

struct MountedPool {
  std::string mount_point;
  // Of `.mpool/status.json` (mpoolfs(8), "STATUS"); null when its daemon does not answer.
  Json status;
};

// The mount, of those that this process sees, of the pool on the devices `paths`, of which
// `superblock` is one's; nullopt when there is none. A copy of the pool on other devices is another
// pool. Only the daemon concerned is asked, and waited for a few seconds at most.
std::optional<MountedPool> find_mounted(const std::vector<std::string>& paths,
                                        const Superblock& superblock);

}  // namespace mpool::tools

// Mounted pools: the state in the mount table and from their daemons.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/format/superblock.h"
#include "tools/json.h"

namespace mpool::tools {

struct MountedPool {
  std::string mount_point;
  // The content of `.mpool/status.json` (mpoolfs(8), "STATUS"); null when its daemon does not
  // answer.
  Json status;
};

// The mount of the pool on the devices `paths`, among the mounts visible to this process;
// `superblock`: of one of the devices. nullopt when there is none. A copy of the pool on other
// devices is another pool. Queries the daemon of that mount only, for a few seconds at most.
std::optional<MountedPool> find_mounted(const std::vector<std::string>& paths,
                                        const Superblock& superblock);

}  // namespace mpool::tools

// Pools that are mounted: what their daemons say of themselves.
#pragma once

#include <optional>
#include <string>

#include "engine/base/uuid.h"
#include "tools/facts.h"

namespace mpool::tools {

struct MountedPool {
  std::string mount_point;
  Json status;  // of `.mpool/status.json`: mpoolfs(8), "STATUS"
};

// The mount of a pool, of those that this process sees; nullopt when there is none. A mount that
// does not answer as mpoolfs does is passed over.
std::optional<MountedPool> find_mounted(const Uuid& pool);

}  // namespace mpool::tools

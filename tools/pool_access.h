// Access of the sub-commands to pools.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/base/logger.h"
#include "engine/pool/discovery.h"
#include "engine/pool/pool.h"

namespace mpool::tools {

// The messages of the engine go to standard error.
Logger engine_logger();

// resolve_pool() with these messages; names and UUIDs also of active pools in files.
std::vector<std::string> resolve(const std::string& pool, OtherDevices others = OtherDevices::find);
// open_pool_devices() with these messages.
std::vector<std::unique_ptr<Device>> open_devices(const std::vector<std::string>& paths,
                                                  OpenMode mode);

// Activates the pool on `paths` such that nothing is ever written to them: recovery, if needed,
// happens in memory. Errors: EBUSY when the pool is active, those of Pool::activate.
std::unique_ptr<Pool> inspect_pool(const std::vector<std::string>& paths,
                                   OnDamage on_damage = OnDamage::refuse);

// open_devices(); its EBUSY message names the mount point of a mounted pool.
std::vector<std::unique_ptr<Device>> open_idle_devices(const std::vector<std::string>& paths,
                                                       OpenMode mode);

// inspect_pool(); its EBUSY message names the mount point of a mounted pool.
std::unique_ptr<Pool> inspect_idle_pool(const std::vector<std::string>& paths);
// Activates the pool to change it. EBUSY as of inspect_idle_pool.
std::unique_ptr<Pool> activate_for_change(const std::vector<std::string>& paths);

// The superblocks of a device that may be active.
struct DeviceSuperblocks {
  std::string path;
  SuperblockPair pair;
};
std::vector<DeviceSuperblocks> peek_superblocks(const std::vector<std::string>& paths);

// The valid superblock. EBADMSG with the faults of both copies when there is none.
const Superblock& require_superblock(const DeviceSuperblocks& device);

// Throws EINVAL unless all devices belong to one pool.
void require_one_pool(const std::vector<DeviceSuperblocks>& devices);

// `operand` if it is a directory, otherwise where the pool of that name, UUID or devices is
// mounted; ENOENT with `refusal` if it is not.
std::string mount_point_of(const std::string& operand, const char* refusal);

}  // namespace mpool::tools

// Claims a device or file for a new pool, or for one that gets a further device.
#pragma once

#include <memory>
#include <string>

#include "engine/io/device.h"

namespace mpool {

enum class DeviceContent { refuse, overwrite };

// Opens the device for activation (EBUSY when it is in use), and checks that it has no known
// signature: EEXIST with the signature, unless its content may be overwritten. Writes nothing.
// ENOSPC when there is not even room for superblocks; those of open_device().
std::unique_ptr<Device> claim_device(const std::string& path, DeviceContent content,
                                     const Logger& logger = {});

// Removes signatures that libblkid recognises, and superblocks of pools that it does not. The
// device must be claimed.
void wipe_device(std::unique_ptr<Device>& device);

}  // namespace mpool

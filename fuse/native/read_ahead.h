// The kernel's read-ahead of a mount.
#pragma once

#include <cstddef>
#include <string>

#include "engine/base/logger.h"

namespace mpoolfs {

// Greatest read-ahead, in bytes, of files that are opened from now on. `device`: of the mount,
// "MAJOR:MINOR". Failures are logged. Any thread.
void set_read_ahead(const std::string& device, std::size_t bytes, const mpool::Logger& logger);

}  // namespace mpoolfs

// Messages of the library and of its engine.
#pragma once

#include "engine/base/logger.h"

namespace libmpool {

// To syslog(3), facility LOG_USER. Never to stdout or stderr, and without openlog(3), whose
// settings belong to the program. Thread-safe.
const mpool::Logger& library_logger();

}  // namespace libmpool

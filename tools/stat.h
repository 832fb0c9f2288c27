// What a mounted pool did between two looks at its status.
#pragma once

#include <string>

#include "fuse/control/pool_json.h"

namespace mpool::tools {

// `before`, `after`: the content of `.mpool/status.json`, so many seconds apart. {NAME_per_second,
// …, resident_pages, ttl_us, …}: rates of counters, and the present state of the reaper.
mpoolfs::Json activity(const mpoolfs::Json& before, const mpoolfs::Json& after, double seconds);

// The same for people, with a newline.
std::string activity_heading();
std::string activity_line(const mpoolfs::Json& activity);

}  // namespace mpool::tools

// Pools and devices as JSON. The names are part of the interface: mpool(8), "JSON".
#pragma once

#include <iosfwd>
#include <string>

#include "engine/pool/pool.h"
#include "fuse/control/pool_json.h"
#include "tools/pool_access.h"

namespace mpool::tools {

using mpoolfs::device_json;
using mpoolfs::Json;

// One line, or indented, in ASCII. Bytes that are not UTF-8 (names from the media) are replaced.
std::string to_line(const Json& json);
void print_json(std::ostream& out, const Json& json);

// {name, uuid, mdc_count}
Json pool_json(const Pool& pool);
// As mpoolfs::device_json().
Json devices_json(const Pool& pool);
// null when the pool has no config record.
Json config_json(const Pool& pool);
// [{class, percent}]
Json spares_json(const Pool& pool);
// {pool, devices, spares, space, config}
Json summary_json(const Pool& pool);
// As mpoolfs::class_json().
Json space_json(const Pool& pool);

}  // namespace mpool::tools

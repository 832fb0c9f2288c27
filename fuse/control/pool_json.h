// Facts of a pool as JSON, as the status of a mount and mpool(8) show them. The names are part of
// their interface.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "engine/pool/pool.h"

namespace mpoolfs {

using Json = nlohmann::ordered_json;

// In ASCII; bytes that are not UTF-8 (paths, names from the media) are replaced. indent: spaces;
// -1: one line.
std::string json_text(const Json& json, int indent);

// {path, class, uuid, sector_size, zone_size, zones, size, features}
Json device_json(const std::string& path, const mpool::DeviceParams& params);
// {class, zone_size, zones, usable, used, free, spare, free_spare, pending}, in zones
Json class_json(const mpool::Pool::ClassInfo& info);

}  // namespace mpoolfs

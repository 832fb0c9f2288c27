#include "fuse/control/pool_json.h"

namespace mpoolfs {

std::string json_text(const Json& json, int indent) {
  return json.dump(indent, ' ', true, Json::error_handler_t::replace);
}

Json device_json(const std::string& path, const mpool::DeviceParams& params) {
  return {{"path", path},
          {"class", to_string(params.media_class)},
          {"uuid", params.uuid.to_string()},
          {"sector_size", params.sector_size()},
          {"zone_size", params.zone_size()},
          {"zones", params.zone_count},
          {"size", params.device_size},
          {"features", params.features}};
}

Json class_json(const mpool::Pool::ClassInfo& info) {
  const mpool::SpaceUsage& space = info.space;
  return {{"class", to_string(info.params.media_class)},
          {"zone_size", info.params.zone_size()},
          {"zones", space.total},
          {"usable", space.usable},
          {"used", space.used},
          {"free", space.free_usable},
          {"spare", space.spare},
          {"free_spare", space.free_spare},
          {"pending", space.pending}};
}

}  // namespace mpoolfs

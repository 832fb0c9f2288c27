#include "tools/json.h"

#include <ostream>

namespace mpool::tools {

std::string to_line(const Json& json) {
  return mpoolfs::json_text(json, -1);
}

void print_json(std::ostream& out, const Json& json) {
  out << mpoolfs::json_text(json, 2) << '\n';
}

Json pool_json(const Pool& pool) {
  return {{"name", pool.name()},
          {"uuid", pool.uuid().to_string()},
          {"mdc_count", pool.mdcs().size() - 1}};  // MDC0 is not counted
}

Json devices_json(const Pool& pool) {
  Json devices = Json::array();
  for (const MediaClass media_class : pool.classes()) {
    const Pool::ClassInfo info = pool.class_info(media_class);
    devices.push_back(device_json(info.device_name, info.params));
  }
  return devices;
}

Json config_json(const Pool& pool) {
  const ConfigRecord config = pool.config();
  if (config == ConfigRecord{}) return nullptr;
  return {{"root_mlogs", {config.root_log_1.to_string(), config.root_log_2.to_string()}},
          {"uid", config.uid},
          {"gid", config.gid},
          {"mode", config.mode},
          {"root_mdc_capacity", config.mdc_capacity},
          {"max_readahead_pages", config.max_readahead_pages},
          {"max_map_size_log2", config.max_map_shift},
          {"user_type", config.user_type.to_string()},
          {"label", config.label}};
}

Json spares_json(const Pool& pool) {
  Json spares = Json::array();
  for (const MediaClass media_class : pool.classes()) {
    spares.push_back({{"class", to_string(media_class)},
                      {"percent", pool.class_info(media_class).spare_percent}});
  }
  return spares;
}

Json summary_json(const Pool& pool) {
  return {{"pool", pool_json(pool)},
          {"devices", devices_json(pool)},
          {"spares", spares_json(pool)},
          {"space", space_json(pool)},
          {"config", config_json(pool)}};
}

Json space_json(const Pool& pool) {
  Json classes = Json::array();
  for (const MediaClass media_class : pool.classes())
    classes.push_back(mpoolfs::class_json(pool.class_info(media_class)));
  return classes;
}

}  // namespace mpool::tools

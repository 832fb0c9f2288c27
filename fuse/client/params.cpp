#include "fuse/client/params.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "engine/format/superblock.h"
#include "fuse/client/guard.h"

namespace libmpool {

namespace {

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

// In MiB, rounded up: a field of 16 or 32 bits.
template <typename Field>
Field to_mib(std::uint64_t bytes) {
  return static_cast<Field>(
      std::min<std::uint64_t>(mpool::ceil_div(bytes, kMiB), std::numeric_limits<Field>::max()));
}

bool is_optimal(const mpool::Pool& pool) {
  for (const mpool::MediaClass media_class : pool.classes()) {
    if (!pool.class_info(media_class).online) return false;
  }
  return true;
}

}  // namespace

mpool::Uuid uuid_from(const uuid_t& bytes) {
  mpool::Uuid uuid;
  std::memcpy(uuid.bytes.data(), bytes, sizeof(uuid_t));
  return uuid;
}

void copy_uuid(const mpool::Uuid& from, uuid_t& into) {
  std::memcpy(into, from.bytes.data(), sizeof(uuid_t));
}

void check_name(const char* name) {
  require(name);
  const std::size_t length = ::strnlen(name, mpool::kMaxPoolNameLength + 1);
  if (length > mpool::kMaxPoolNameLength) {
    throw ReportedError(ENAMETOOLONG, MPCTL_RC_ENTNAM_INV, name, "the name of a pool is too long");
  }
  const std::string_view text(name, length);
  if (text.empty() || text.front() == '-' || text.front() == '.' ||
      !std::ranges::all_of(text, is_name_character)) {
    throw ReportedError(EINVAL, MPCTL_RC_ENTNAM_INV, name, "not the name of a pool");
  }
}

std::string label_of(const mpool_params& params) {
  const std::size_t length = ::strnlen(params.mp_label, sizeof params.mp_label);
  std::string label(params.mp_label, std::min(length, sizeof params.mp_label - 1));
  if (length == sizeof params.mp_label || !std::ranges::all_of(label, is_name_character)) {
    throw ReportedError(EINVAL, MPCTL_RC_ENTNAM_INV, label, "not the label of a pool");
  }
  return label;
}

mpool_params params_of(const mpool::Pool& pool) {
  mpool_params params{};
  const mpool::ConfigRecord config = pool.config();
  copy_uuid(pool.uuid(), params.mp_poolid);
  params.mp_uid = config.uid;
  params.mp_gid = config.gid;
  params.mp_mode = config.mode & 0777;
  params.mp_stat = is_optimal(pool) ? 1 : 2;
  params.mp_spare_cap = params.mp_spare_stg = MPOOL_SPARES_INVALID;
  params.mp_mdc_captgt = MPOOL_ROOT_LOG_CAP;
  params.mp_oidv[0] = mpool::root_log_id(0).value;
  params.mp_oidv[1] = mpool::root_log_id(1).value;
  params.mp_ra_pages_max = std::min<std::uint32_t>(config.max_readahead_pages, MPOOL_RA_PAGES_MAX);
  params.mp_vma_size_max = kMaxMapShift;
  for (const mpool::MediaClass media_class : pool.classes()) {
    const mpool::Pool::ClassInfo info = pool.class_info(media_class);
    const bool staging = media_class == mpool::MediaClass::staging;
    params.mp_mblocksz[staging ? MP_MED_STAGING : MP_MED_CAPACITY] =
        to_mib<std::uint32_t>(info.params.zone_size());
    (staging ? params.mp_spare_stg : params.mp_spare_cap) =
        static_cast<std::uint8_t>(info.spare_percent);
  }
  const auto mdcs = pool.mdcs();
  params.mp_mdc0cap = to_mib<std::uint16_t>(mdcs.front().capacity);
  if (mdcs.size() > 1) params.mp_mdcncap = to_mib<std::uint16_t>(mdcs[1].capacity);
  params.mp_mdcnum = static_cast<std::uint16_t>(mdcs.size() - 1);
  copy_uuid(config.user_type, params.mp_utype);
  copy_text(config.label, params.mp_label);
  copy_text(pool.name(), params.mp_name);
  return params;
}

mpool::Pool::Settings settings_from(const mpool_params& given) {
  mpool::Pool::Settings settings;
  if (given.mp_uid != static_cast<uid_t>(-1)) settings.uid = given.mp_uid;
  if (given.mp_gid != static_cast<gid_t>(-1)) settings.gid = given.mp_gid;
  if (given.mp_mode != static_cast<mode_t>(-1)) settings.mode = given.mp_mode & 0777;
  if (given.mp_label[0] != '\0') settings.label = label_of(given);
  if (!uuid_is_null(given.mp_utype)) settings.user_type = uuid_from(given.mp_utype);
  if (given.mp_ra_pages_max != MPOOL_RA_PAGES_INVALID) {
    settings.max_readahead_pages =
        std::min<std::uint32_t>(given.mp_ra_pages_max, MPOOL_RA_PAGES_MAX);
  }
  return settings;
}

nlohmann::ordered_json params_to_json(const mpool_params& params) {
  return {{"name", params.mp_name},
          {"uuid", uuid_from(params.mp_poolid).to_string()},
          {"uid", params.mp_uid},
          {"gid", params.mp_gid},
          {"mode", params.mp_mode},
          {"stat", params.mp_stat},
          {"label", params.mp_label},
          {"user_type", uuid_from(params.mp_utype).to_string()},
          {"spare_capacity", params.mp_spare_cap},
          {"spare_staging", params.mp_spare_stg},
          {"mblock_mib_capacity", params.mp_mblocksz[MP_MED_CAPACITY]},
          {"mblock_mib_staging", params.mp_mblocksz[MP_MED_STAGING]},
          {"readahead_pages", params.mp_ra_pages_max},
          {"mdc0_mib", params.mp_mdc0cap},
          {"mdc_mib", params.mp_mdcncap},
          {"mdc_count", params.mp_mdcnum}};
}

mpool_params params_from_json(const nlohmann::ordered_json& json) {
  mpool_params params{};
  const auto uuid = [&](const char* key) {
    return mpool::Uuid::parse(json.at(key).get<std::string>()).value_or(mpool::Uuid{});
  };
  copy_text(json.at("name").get<std::string>(), params.mp_name);
  copy_text(json.at("label").get<std::string>(), params.mp_label);
  copy_uuid(uuid("uuid"), params.mp_poolid);
  copy_uuid(uuid("user_type"), params.mp_utype);
  json.at("uid").get_to(params.mp_uid);
  json.at("gid").get_to(params.mp_gid);
  json.at("mode").get_to(params.mp_mode);
  json.at("stat").get_to(params.mp_stat);
  json.at("spare_capacity").get_to(params.mp_spare_cap);
  json.at("spare_staging").get_to(params.mp_spare_stg);
  json.at("mblock_mib_capacity").get_to(params.mp_mblocksz[MP_MED_CAPACITY]);
  json.at("mblock_mib_staging").get_to(params.mp_mblocksz[MP_MED_STAGING]);
  json.at("readahead_pages").get_to(params.mp_ra_pages_max);
  json.at("mdc0_mib").get_to(params.mp_mdc0cap);
  json.at("mdc_mib").get_to(params.mp_mdcncap);
  json.at("mdc_count").get_to(params.mp_mdcnum);
  params.mp_mdc_captgt = MPOOL_ROOT_LOG_CAP;
  params.mp_oidv[0] = mpool::root_log_id(0).value;
  params.mp_oidv[1] = mpool::root_log_id(1).value;
  params.mp_vma_size_max = kMaxMapShift;
  return params;
}

}  // namespace libmpool

#include "fuse/client/params.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "engine/format/superblock.h"
#include "fuse/client/guard.h"
#include "fuse/client/pool_facts.h"

namespace libmpool {

namespace {

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

// Of a field that may lack its NUL.
template <std::size_t Size>
std::string_view text_in(const char (&field)[Size]) {
  return {field, ::strnlen(field, Size)};
}

// In MiB, rounded up: a field of 16 or 32 bits.
template <typename Field>
Field to_mib(std::uint64_t bytes) {
  return static_cast<Field>(
      std::min<std::uint64_t>(mpool::ceil_div(bytes, kMiB), std::numeric_limits<Field>::max()));
}

mpool_params without_values() {
  mpool_params params{};
  params.mp_mdc_captgt = MPOOL_ROOT_LOG_CAP;
  params.mp_oidv[0] = mpool::root_log_id(0).value;
  params.mp_oidv[1] = mpool::root_log_id(1).value;
  params.mp_vma_size_max = kMaxMapShift;
  return params;
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

mpool_params params_of(const mpool_ioc_pool& facts) {
  mpool_params params = without_values();
  std::memcpy(params.mp_poolid, facts.uuid, sizeof params.mp_poolid);
  std::memcpy(params.mp_utype, facts.user_type, sizeof params.mp_utype);
  params.mp_uid = facts.uid;
  params.mp_gid = facts.gid;
  params.mp_mode = facts.mode;
  params.mp_stat = 1;
  params.mp_spare_cap = params.mp_spare_stg = MPOOL_SPARES_INVALID;
  params.mp_ra_pages_max = std::min<std::uint32_t>(facts.readahead, MPOOL_RA_PAGES_MAX);
  for (const unsigned i : {MP_MED_STAGING, MP_MED_CAPACITY}) {
    const mpool_ioc_class& of = facts.classes[i];
    if (of.zone_size == 0) continue;
    if (of.online == 0) params.mp_stat = 2;
    params.mp_mblocksz[i] = to_mib<std::uint32_t>(of.zone_size);
    (i == MP_MED_STAGING ? params.mp_spare_stg : params.mp_spare_cap) =
        static_cast<std::uint8_t>(of.spare_percent);
  }
  params.mp_mdc0cap = to_mib<std::uint16_t>(facts.mdc0_capacity);
  params.mp_mdcncap = to_mib<std::uint16_t>(facts.mdc_capacity);
  params.mp_mdcnum = static_cast<std::uint16_t>(facts.mdc_count);
  copy_text(text_in(facts.label), params.mp_label);
  copy_text(text_in(facts.name), params.mp_name);
  return params;
}

mpool_params params_of(const mpool::Pool& pool) {
  return params_of(facts_of(pool, false));
}

mpool_ioc_settings changes_from(const mpool_params& given) {
  const mpool::Pool::Settings settings = settings_from(given);
  mpool_ioc_settings changes{};
  const auto give = [&](std::uint32_t flag, auto& field, const auto& value) {
    if (!value) return;
    changes.given |= flag;
    field = *value;
  };
  const auto give_spare = [&](std::uint32_t flag, unsigned media_class, std::uint8_t percent) {
    if (percent == MPOOL_SPARES_INVALID) return;
    changes.given |= flag;
    changes.spare_percent[media_class] = percent;
  };
  give(MPOOL_IOC_SET_UID, changes.uid, settings.uid);
  give(MPOOL_IOC_SET_GID, changes.gid, settings.gid);
  give(MPOOL_IOC_SET_MODE, changes.mode, settings.mode);
  give(MPOOL_IOC_SET_READAHEAD, changes.readahead, settings.max_readahead_pages);
  if (settings.label) {
    changes.given |= MPOOL_IOC_SET_LABEL;
    copy_text(*settings.label, changes.label);
  }
  if (settings.user_type) {
    changes.given |= MPOOL_IOC_SET_USER_TYPE;
    copy_uuid(*settings.user_type, changes.user_type);
  }
  give_spare(MPOOL_IOC_SET_SPARE_STAGING, MP_MED_STAGING, given.mp_spare_stg);
  give_spare(MPOOL_IOC_SET_SPARE_CAPACITY, MP_MED_CAPACITY, given.mp_spare_cap);
  return changes;
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
  mpool_params params = without_values();
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
  return params;
}

}  // namespace libmpool

#include "fuse/client/pool_facts.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include "engine/base/error.h"
#include "engine/io/device.h"

namespace libmpool {

namespace {

static_assert(MPOOL_IOC_STAGING == std::to_underlying(mpool::MediaClass::staging));
static_assert(MPOOL_IOC_CAPACITY == std::to_underlying(mpool::MediaClass::capacity));

constexpr std::uint32_t kMinOptimalWrite = 4096;
constexpr std::uint32_t kMaxOptimalWrite = 131072;

// Cuts a text to a field, NUL-terminated.
template <std::size_t Size>
void put_text(std::string_view from, char (&into)[Size]) {
  into[from.copy(into, Size - 1)] = '\0';
}

void put_class(const mpool::Pool& pool, mpool::MediaClass media_class, mpool_ioc_class& into) {
  const mpool::Pool::ClassInfo info = pool.class_info(media_class);
  const mpool::SpaceUsage& space = info.space;
  const std::uint64_t zone = info.params.zone_size();
  into.zone_size = zone;
  into.total = space.total * zone;
  into.usable = space.usable * zone;
  into.spare = space.spare * zone;
  into.free_usable = space.free_usable * zone;
  into.free_spare = space.free_spare * zone;
  into.used = space.used * zone;
  std::memcpy(into.uuid, info.params.uuid.bytes.data(), sizeof into.uuid);
  into.spare_percent = info.spare_percent;
  into.online = info.online ? 1 : 0;
  into.write_size = optimal_write_size(pool.device(media_class));
  put_text(info.device_name, into.device);
}

// Without what is as wanted already: that needs neither privilege nor a record.
mpool::Pool::Settings changes_of(const mpool_ioc_settings& wanted,
                                 const mpool::ConfigRecord& present) {
  mpool::Pool::Settings changes;
  const auto take = [&](std::uint32_t flag, auto& change, const auto& value, const auto& now) {
    if ((wanted.given & flag) != 0 && value != now) change = value;
  };
  take(MPOOL_IOC_SET_UID, changes.uid, wanted.uid, present.uid);
  take(MPOOL_IOC_SET_GID, changes.gid, wanted.gid, present.gid);
  take(MPOOL_IOC_SET_MODE, changes.mode, wanted.mode & 0777, present.mode & 0777);
  take(MPOOL_IOC_SET_LABEL, changes.label, std::string(wanted.label), present.label);
  take(MPOOL_IOC_SET_READAHEAD, changes.max_readahead_pages, wanted.readahead,
       present.max_readahead_pages);
  mpool::Uuid user_type;
  std::memcpy(user_type.bytes.data(), wanted.user_type, sizeof wanted.user_type);
  take(MPOOL_IOC_SET_USER_TYPE, changes.user_type, user_type, present.user_type);
  return changes;
}

// As chown(2) and chmod(2).
void check_privilege(const mpool::Pool::Settings& changes, const mpool::ConfigRecord& present,
                     const SettingsUser& user) {
  if (user.uid == 0) return;
  const bool is_owner = user.uid == present.uid;
  const bool group_is_own = changes.gid && user.is_in_group(*changes.gid);
  if (!changes.uid && (!changes.gid || (is_owner && group_is_own)) && (!changes.mode || is_owner)) {
    return;
  }
  mpool::raise(EPERM, "parameters", "only the owner and root may change owner, group and mode");
}

}  // namespace

std::uint32_t optimal_write_size(const mpool::Device& device) {
  const std::uint32_t stated = device.properties().optimal_io_size;
  if (stated == 0) return kMaxOptimalWrite;
  return static_cast<std::uint32_t>(
      mpool::round_down(std::clamp(stated, kMinOptimalWrite, kMaxOptimalWrite), mpool::kPageSize));
}

bool is_in_group(gid_t group) {
  if (::getegid() == group) return true;
  const int count = ::getgroups(0, nullptr);
  if (count <= 0) return false;
  std::vector<gid_t> groups(static_cast<std::size_t>(count));
  const int found = ::getgroups(count, groups.data());
  return found > 0 &&
         std::ranges::find(groups.begin(), groups.begin() + found, group) != groups.begin() + found;
}

mpool_ioc_pool facts_of(const mpool::Pool& pool, bool holds_tree) {
  const mpool::ConfigRecord config = pool.config();
  const auto mdcs = pool.mdcs();
  mpool_ioc_pool facts{};
  std::memcpy(facts.uuid, pool.uuid().bytes.data(), sizeof facts.uuid);
  std::memcpy(facts.user_type, config.user_type.bytes.data(), sizeof facts.user_type);
  facts.uid = config.uid;
  facts.gid = config.gid;
  facts.mode = config.mode & 0777;
  facts.readahead = config.max_readahead_pages;
  facts.flags = holds_tree ? MPOOL_IOC_HOLDS_TREE : 0;
  facts.mdc_count = static_cast<std::uint32_t>(mdcs.size() - 1);
  facts.mdc0_capacity = mdcs.front().capacity;
  if (mdcs.size() > 1) facts.mdc_capacity = mdcs[1].capacity;
  put_text(pool.name(), facts.name);
  put_text(config.label, facts.label);
  for (const mpool::MediaClass media_class : pool.classes())
    put_class(pool, media_class, facts.classes[std::to_underlying(media_class)]);
  return facts;
}

mpool_ioc_usage usage_of(const mpool::Pool& pool) {
  mpool_ioc_usage usage{};
  for (const mpool::ObjectRecord& object : pool.objects()) {
    const std::uint64_t capacity =
        pool.has_class(object.media_class) ? pool.capacity_of(object) : 0;
    if (object.id.is_mblock()) {
      usage.mblock_capacity += capacity;
      usage.mblock_written += object.written_length;
      ++usage.mblock_count;
    } else {
      usage.mlog_capacity += capacity;
      ++usage.mlog_count;
    }
  }
  return usage;
}

mpool_ioc_properties properties_of(const mpool::ClientPool::Mblock& mblock) {
  mpool_ioc_properties properties{};
  properties.objid = mblock.id.value;
  properties.type = MPOOL_IOC_MBLOCK;
  properties.capacity = mblock.capacity;
  properties.written = mblock.written_length;
  properties.media_class = std::to_underlying(mblock.media_class);
  properties.flags = mblock.committed ? MPOOL_IOC_COMMITTED : 0;
  return properties;
}

mpool_ioc_properties properties_of(const mpool::ClientPool::Log& log) {
  mpool_ioc_properties properties{};
  properties.objid = log.id.value;
  properties.type = MPOOL_IOC_MLOG;
  properties.capacity = log.capacity;
  properties.generation = log.generation;
  properties.media_class = std::to_underlying(log.media_class);
  std::memcpy(properties.uuid, log.uuid.bytes.data(), sizeof properties.uuid);
  properties.flags = log.committed ? MPOOL_IOC_COMMITTED : 0;
  return properties;
}

mblock_props mblock_props_of(const mpool_ioc_properties& properties, std::uint32_t write_size) {
  mblock_props props{};
  props.mpr_objid = properties.objid;
  props.mpr_alloc_cap = static_cast<std::uint32_t>(properties.capacity);
  props.mpr_write_len = static_cast<std::uint32_t>(properties.written);
  props.mpr_optimal_wrsz = write_size;
  props.mpr_mclassp = properties.media_class;
  props.mpr_iscommitted = (properties.flags & MPOOL_IOC_COMMITTED) != 0 ? 1 : 0;
  return props;
}

mlog_props mlog_props_of(const mpool_ioc_properties& properties) {
  mlog_props props{};
  std::memcpy(props.lpr_uuid, properties.uuid, sizeof props.lpr_uuid);
  props.lpr_objid = properties.objid;
  props.lpr_alloc_cap = properties.capacity;
  props.lpr_gen = properties.generation;
  props.lpr_mclassp = static_cast<std::uint8_t>(properties.media_class);
  props.lpr_iscommitted = (properties.flags & MPOOL_IOC_COMMITTED) != 0 ? 1 : 0;
  return props;
}

void change_settings(mpool::Pool& pool, const mpool_ioc_settings& wanted, const SettingsUser& user,
                     bool holds_tree) {
  const mpool::ConfigRecord present = pool.config();
  const mpool::Pool::Settings changes = changes_of(wanted, present);
  check_privilege(changes, present, user);
  if (changes.user_type && holds_tree) {
    mpool::raise(EMEDIUMTYPE, pool.name(), "the root MDC holds a file system");
  }
  // Before anything is changed.
  if (std::ranges::any_of(wanted.spare_percent, [](auto percent) { return percent > 100; })) {
    mpool::raise(EINVAL, pool.name(), "a percentage of spares over 100");
  }
  if (changes != mpool::Pool::Settings{}) pool.configure(changes);
  for (const mpool::MediaClass media_class : pool.classes()) {
    const bool staging = media_class == mpool::MediaClass::staging;
    const std::uint32_t flag = staging ? MPOOL_IOC_SET_SPARE_STAGING : MPOOL_IOC_SET_SPARE_CAPACITY;
    const std::uint32_t percent = wanted.spare_percent[std::to_underlying(media_class)];
    if ((wanted.given & flag) == 0 || pool.class_info(media_class).spare_percent == percent) {
      continue;
    }
    pool.set_spare_percent(media_class, percent);
  }
}

}  // namespace libmpool

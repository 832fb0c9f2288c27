// Pools that are open.
#include <algorithm>
#include <cerrno>
#include <span>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "engine/io/media_lock.h"
#include "engine/io/probe.h"
#include "engine/pool/discovery.h"
#include "fuse/client/handle.h"
#include "fuse/client/log.h"
#include "fuse/client/params.h"

namespace {

using libmpool::guarded;
using libmpool::ReportedError;
using libmpool::require;

bool is_in_group(gid_t group) {
  if (::getegid() == group) return true;
  const int count = ::getgroups(0, nullptr);
  if (count <= 0) return false;
  std::vector<gid_t> groups(static_cast<std::size_t>(count));
  const int found = ::getgroups(count, groups.data());
  return found > 0 &&
         std::ranges::find(groups.begin(), groups.begin() + found, group) != groups.begin() + found;
}

// EACCES unless the caller has all of `wanted` (4: read, 2: write).
void check_permission(const mpool_params& params, unsigned wanted) {
  if (::geteuid() == 0) return;
  unsigned granted = params.mp_mode;
  if (::geteuid() == params.mp_uid) {
    granted >>= 6;
  } else if (is_in_group(params.mp_gid)) {
    granted >>= 3;
  }
  if ((granted & wanted) == wanted) return;
  throw ReportedError(EACCES, MPOOL_RC_OPEN, params.mp_name, "is not for this user");
}

// EBUSY when a mount, or another program, has a pool that is not recorded as active.
[[noreturn]] void refuse_inactive(const std::string& name) {
  for (const auto& device :
       mpool::scan_devices(mpool::list_block_devices(), nullptr, libmpool::library_logger())) {
    if (device.superblock.pool_name == name && device.active) {
      throw ReportedError(EBUSY, MPOOL_RC_STAT, name, "is mounted, or in use by another program");
    }
  }
  throw ReportedError(ENOENT, MPOOL_RC_OPEN, name, "is not active");
}

// Writes the present parameters to the registry, if they differ.
void record_params(mpool::Pool& pool, libmpool::ActivePool& active) {
  const mpool_params params = libmpool::params_of(pool);
  if (libmpool::params_to_json(params) == libmpool::params_to_json(active.params)) return;
  active.params = params;
  const libmpool::RegistryLock lock;
  libmpool::record_active(active);
}

bool is_set_and_other(const auto& wanted, const auto& present) {
  return wanted && *wanted != present;
}

// Without what is as wanted already: that needs neither privilege nor a record.
mpool::Pool::Settings changes_of(mpool::Pool::Settings wanted, const mpool::ConfigRecord& present) {
  const auto drop = [](auto& value, const auto& same) {
    if (!is_set_and_other(value, same)) value.reset();
  };
  drop(wanted.uid, present.uid);
  drop(wanted.gid, present.gid);
  drop(wanted.mode, present.mode & 0777);
  drop(wanted.label, present.label);
  drop(wanted.user_type, present.user_type);
  drop(wanted.max_readahead_pages, present.max_readahead_pages);
  return wanted;
}

// As chown(2) and chmod(2).
void check_privilege(const mpool::Pool::Settings& changes, const mpool::ConfigRecord& present) {
  if (::geteuid() == 0) return;
  const bool is_owner = ::geteuid() == present.uid;
  const bool group_is_own = changes.gid && is_in_group(*changes.gid);
  if (!changes.uid && (!changes.gid || (is_owner && group_is_own)) && (!changes.mode || is_owner)) {
    return;
  }
  mpool::raise(EPERM, "parameters", "only the owner and root may change owner, group and mode");
}

void set_spares(mpool::Pool& pool, const mpool_params& params) {
  const auto set = [&](mpool::MediaClass media_class, std::uint8_t percent) {
    if (percent == MPOOL_SPARES_INVALID || !pool.has_class(media_class)) return;
    if (pool.class_info(media_class).spare_percent == percent) return;
    pool.set_spare_percent(media_class, percent);
  };
  set(mpool::MediaClass::capacity, params.mp_spare_cap);
  set(mpool::MediaClass::staging, params.mp_spare_stg);
}

// Sizes of a class in bytes.
struct ClassSizes {
  std::uint64_t zone, total, usable, spare, free_usable, free_spare, used, used_spare;
};

ClassSizes sizes_of(const mpool::Pool::ClassInfo& info) {
  const mpool::SpaceUsage& space = info.space;
  const std::uint64_t zone = info.params.zone_size();
  const std::uint32_t used_spare = space.used > space.usable ? space.used - space.usable : 0;
  return {.zone = zone,
          .total = space.total * zone,
          .usable = space.usable * zone,
          .spare = space.spare * zone,
          .free_usable = space.free_usable * zone,
          .free_spare = space.free_spare * zone,
          .used = space.used * zone,
          .used_spare = used_spare * zone};
}

}  // namespace

mpool_err_t mpool_open(const char* name, uint32_t flags, mpool_handle** mp,
                       struct mpool_devrpt* report) {
  return guarded(report, [&] {
    require(mp);
    libmpool::check_name(name);
    const unsigned access = flags & O_ACCMODE;
    const bool exclusive = (flags & O_EXCL) != 0;
    const bool writable = access != O_RDONLY || !exclusive;
    auto active = libmpool::find_active(std::string(name));
    if (!active) refuse_inactive(name);
    check_permission(active->params, writable ? 6 : 4);
    auto use = libmpool::PoolUse::open(
        *active, exclusive ? libmpool::Sharing::exclusive : libmpool::Sharing::shared);
    auto handle = std::make_unique<mpool_handle>(std::move(use), writable);
    try {
      record_params(handle->pool(), *active);
    } catch (const mpool::Error& error) {
      // Only lists are of an earlier state.
      libmpool::library_logger()->info("{}", error.what());
    }
    *mp = handle.release();
  });
}

mpool_err_t mpool_close(mpool_handle* mp) {
  return guarded([&] {
    if (mp == nullptr) return;
    {
      const std::lock_guard lock(mp->mutex);
      const bool mdcs_open = std::ranges::any_of(
          mp->mdcs, [](const auto& each) { return !each.second->mdc->failed(); });
      if (!mp->logs.empty() || mdcs_open) {
        mpool::raise(EBUSY, mp->pool().name(), "logs are open");
      }
      for (const auto& [mdc, owned] : mp->mdcs)
        mp->client().close_mdc(owned->mdc);
      mp->mdcs.clear();
    }
    delete mp;
  });
}

mpool_err_t mpool_mclass_get(mpool_handle* mp, mp_media_classp mclass, mpool_mclass_props* props) {
  return guarded([&] {
    require(mp);
    const mpool::MediaClass media_class = libmpool::class_from(mclass);
    if (!mp->pool().has_class(media_class)) {
      mpool::raise(ENOENT, mp->pool().name(), "has no device of that media class");
    }
    if (props == nullptr) return;
    const ClassSizes sizes = sizes_of(mp->pool().class_info(media_class));
    *props = {.mc_mblocksz = static_cast<uint32_t>(mpool::ceil_div(sizes.zone, libmpool::kMiB)),
              .mc_rsvd = 0,
              .mc_total = sizes.total,
              .mc_usable = sizes.usable,
              .mc_used = sizes.used - sizes.used_spare,
              .mc_spare = sizes.spare,
              .mc_spare_used = sizes.used_spare};
  });
}

mpool_err_t mpool_usage_get(mpool_handle* mp, mpool_usage* usage) {
  return guarded([&] {
    require(mp, usage);
    mpool::Pool& pool = mp->pool();
    mpool_usage sum{};
    for (const mpool::MediaClass media_class : pool.classes()) {
      const ClassSizes sizes = sizes_of(pool.class_info(media_class));
      sum.mpu_total += sizes.total;
      sum.mpu_usable += sizes.usable;
      sum.mpu_fusable += sizes.free_usable;
      sum.mpu_used += sizes.used;
      sum.mpu_spare += sizes.spare;
      sum.mpu_fspare += sizes.free_spare;
    }
    for (const mpool::ObjectRecord& object : pool.objects()) {
      if (object.id.is_mblock()) {
        sum.mpu_mblock_alen += pool.capacity_of(object);
        sum.mpu_mblock_wlen += object.written_length;
        ++sum.mpu_mblock_cnt;
      } else {
        sum.mpu_mlog_alen += pool.capacity_of(object);
        ++sum.mpu_mlog_cnt;
      }
    }
    sum.mpu_alen = sum.mpu_mblock_alen + sum.mpu_mlog_alen;
    sum.mpu_wlen = sum.mpu_mblock_wlen + sum.mpu_mlog_alen;
    *usage = sum;
  });
}

mpool_err_t mpool_dev_props_get(mpool_handle* mp, const char* device, mpool_devprops* props) {
  return guarded([&] {
    require(mp, props);
    require(device);
    mpool::Pool& pool = mp->pool();
    for (const mpool::MediaClass media_class : pool.classes()) {
      const mpool::Pool::ClassInfo info = pool.class_info(media_class);
      if (!mpool::is_media_of(device, std::span(&info.device_name, 1))) continue;
      const ClassSizes sizes = sizes_of(info);
      mpool_devprops found{};
      libmpool::copy_uuid(info.params.uuid, found.pdp_devid);
      found.pdp_mclassp = static_cast<std::uint8_t>(media_class);
      found.pdp_status = info.online ? 1 : 3;
      found.pdp_total = sizes.total;
      found.pdp_avail = sizes.usable + sizes.spare;
      found.pdp_spare = sizes.spare;
      found.pdp_fspare = sizes.free_spare;
      found.pdp_usable = sizes.usable;
      found.pdp_fusable = sizes.free_usable;
      found.pdp_used = sizes.used;
      *props = found;
      return;
    }
    mpool::raise(ENOENT, device, "is no device of pool {}", pool.name());
  });
}

mpool_err_t mpool_params_get(mpool_handle* mp, mpool_params* params, struct mpool_devrpt* report) {
  return guarded(report, [&] {
    require(mp, params);
    *params = libmpool::params_of(mp->pool());
  });
}

mpool_err_t mpool_params_set(mpool_handle* mp, mpool_params* params, struct mpool_devrpt* report) {
  return guarded(report, [&] {
    require(mp, params);
    libmpool::require_writable(mp);
    mpool::Pool& pool = mp->pool();
    const mpool::ConfigRecord present = pool.config();
    const auto changes = changes_of(libmpool::settings_from(*params), present);
    check_privilege(changes, present);
    if (changes.user_type) libmpool::refuse_tree(*mp);
    if (changes != mpool::Pool::Settings{}) pool.configure(changes);
    set_spares(pool, *params);
    if (auto active = libmpool::find_active(pool.name())) record_params(pool, *active);
  });
}

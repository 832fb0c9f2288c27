// Pools that are open.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "engine/io/media_lock.h"
#include "engine/io/probe.h"
#include "engine/pool/discovery.h"
#include "fuse/client/handle.h"
#include "fuse/client/log.h"
#include "fuse/client/params.h"
#include "fuse/client/pool_facts.h"
#include "fuse/client/pool_source.h"

namespace {

using libmpool::guarded;
using libmpool::ReportedError;
using libmpool::require;

// EACCES unless the caller has all of `wanted` (4: read, 2: write).
void check_permission(const mpool_params& params, unsigned wanted) {
  if (::geteuid() == 0) return;
  unsigned granted = params.mp_mode;
  if (::geteuid() == params.mp_uid) {
    granted >>= 6;
  } else if (libmpool::is_in_group(params.mp_gid)) {
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

const mpool_ioc_class& class_of(const mpool_ioc_pool& facts, mpool::MediaClass media_class) {
  return facts.classes[std::to_underlying(media_class)];
}

// Of what is used, the bytes beyond the usable ones.
std::uint64_t used_spare(const mpool_ioc_class& of) {
  return of.used > of.usable ? of.used - of.usable : 0;
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
    auto active = libmpool::pool_source().find(name);
    if (!active) refuse_inactive(name);
    check_permission(active->params, writable ? 6 : 4);
    auto use = libmpool::PoolUse::open(
        *active, exclusive ? libmpool::Sharing::exclusive : libmpool::Sharing::shared);
    *mp = new mpool_handle(std::move(use), writable);
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
        mpool::raise(EBUSY, "pool", "logs are open");
      }
      mp->mdcs.clear();
    }
    delete mp;
  });
}

mpool_err_t mpool_mclass_get(mpool_handle* mp, mp_media_classp mclass, mpool_mclass_props* props) {
  return guarded([&] {
    require(mp);
    const mpool::MediaClass media_class = libmpool::class_from(mclass);
    const mpool_ioc_pool facts = mp->backend().facts();
    const mpool_ioc_class& of = class_of(facts, media_class);
    if (of.zone_size == 0) {
      mpool::raise(ENOENT, facts.name, "has no device of that media class");
    }
    if (props == nullptr) return;
    *props = {.mc_mblocksz = static_cast<uint32_t>(mpool::ceil_div(of.zone_size, libmpool::kMiB)),
              .mc_rsvd = 0,
              .mc_total = of.total,
              .mc_usable = of.usable,
              .mc_used = of.used - used_spare(of),
              .mc_spare = of.spare,
              .mc_spare_used = used_spare(of)};
  });
}

mpool_err_t mpool_usage_get(mpool_handle* mp, mpool_usage* usage) {
  return guarded([&] {
    require(mp, usage);
    const mpool_ioc_pool facts = mp->backend().facts();
    const mpool_ioc_usage objects = mp->backend().usage();
    mpool_usage sum{};
    for (const mpool_ioc_class& of : facts.classes) {
      sum.mpu_total += of.total;
      sum.mpu_usable += of.usable;
      sum.mpu_fusable += of.free_usable;
      sum.mpu_used += of.used;
      sum.mpu_spare += of.spare;
      sum.mpu_fspare += of.free_spare;
    }
    sum.mpu_mblock_alen = objects.mblock_capacity;
    sum.mpu_mblock_wlen = objects.mblock_written;
    sum.mpu_mblock_cnt = static_cast<uint32_t>(objects.mblock_count);
    sum.mpu_mlog_alen = objects.mlog_capacity;
    sum.mpu_mlog_cnt = static_cast<uint32_t>(objects.mlog_count);
    sum.mpu_alen = sum.mpu_mblock_alen + sum.mpu_mlog_alen;
    sum.mpu_wlen = sum.mpu_mblock_wlen + sum.mpu_mlog_alen;
    *usage = sum;
  });
}

mpool_err_t mpool_dev_props_get(mpool_handle* mp, const char* device, mpool_devprops* props) {
  return guarded([&] {
    require(mp, props);
    require(device);
    const mpool_ioc_pool facts = mp->backend().facts();
    for (const unsigned i : {MP_MED_STAGING, MP_MED_CAPACITY}) {
      const mpool_ioc_class& of = facts.classes[i];
      const std::string path = of.device;
      if (of.zone_size == 0 || !mpool::is_media_of(device, std::span(&path, 1))) continue;
      mpool_devprops found{};
      std::memcpy(found.pdp_devid, of.uuid, sizeof found.pdp_devid);
      found.pdp_mclassp = static_cast<std::uint8_t>(i);
      found.pdp_status = of.online != 0 ? 1 : 3;
      found.pdp_total = of.total;
      found.pdp_avail = of.usable + of.spare;
      found.pdp_spare = of.spare;
      found.pdp_fspare = of.free_spare;
      found.pdp_usable = of.usable;
      found.pdp_fusable = of.free_usable;
      found.pdp_used = of.used;
      *props = found;
      return;
    }
    mpool::raise(ENOENT, device, "is no device of pool {}", facts.name);
  });
}

mpool_err_t mpool_params_get(mpool_handle* mp, mpool_params* params, struct mpool_devrpt* report) {
  return guarded(report, [&] {
    require(mp, params);
    *params = libmpool::params_of(mp->backend().facts());
  });
}

mpool_err_t mpool_params_set(mpool_handle* mp, mpool_params* params, struct mpool_devrpt* report) {
  return guarded(report, [&] {
    require(mp, params);
    libmpool::require_writable(mp);
    mp->backend().change_settings(libmpool::changes_from(*params));
  });
}

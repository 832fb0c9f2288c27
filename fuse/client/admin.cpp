// Pools that are not open: from their creation to their destruction.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "engine/io/probe.h"
#include "engine/pool/claim.h"
#include "engine/pool/discovery.h"
#include "fuse/client/engine_backend.h"
#include "fuse/client/guard.h"
#include "fuse/client/log.h"
#include "fuse/client/params.h"
#include "fuse/client/pool_table.h"
#include "fuse/client/registry.h"

namespace {

using libmpool::ActivePool;
using libmpool::guarded;
using libmpool::RegistryLock;
using libmpool::ReportedError;
using libmpool::require;

constexpr gid_t kDefaultGroup = 6;  // disk
constexpr mode_t kDefaultMode = 0660;
constexpr std::uint32_t kMaxZoneMib = 64;
constexpr std::uint32_t kForce = 1u << MP_FLAGS_FORCE;

// A pool that a program named.
struct Found {
  std::string name;
  std::vector<std::string> devices;
  std::optional<ActivePool> active;
};

[[noreturn]] void raise_unknown(const std::string& name) {
  throw ReportedError(ENOENT, MPCTL_RC_MP_NODEV, name, "there is no such pool");
}

// Empty for an empty path: to open it tells why.
std::string absolute(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::absolute(path, ignored);
}

std::vector<std::string> absolute(std::vector<std::string> paths) {
  for (std::string& path : paths)
    path = absolute(path);
  return paths;
}

Found found_active(ActivePool pool) {
  Found found{.name = pool.name(), .devices = pool.devices, .active = std::nullopt};
  found.active = std::move(pool);
  return found;
}

Found found_on_devices(const std::string& name, std::vector<std::string> paths) {
  paths = absolute(std::move(paths));
  const auto devices = mpool::peek_devices(paths);
  if (devices.size() != paths.size()) raise_unknown(name);
  const mpool::Superblock& superblock = devices.front().superblock;
  if (auto active = libmpool::find_active(superblock.pool_uuid)) {
    return found_active(std::move(*active));
  }
  return {.name = superblock.pool_name, .devices = std::move(paths), .active = std::nullopt};
}

// Of a pool that is not active, on block devices.
Found find_by_uuid(const std::string& name, const mpool::Uuid& uuid) {
  try {
    return found_on_devices(
        name, mpool::resolve_pool("UUID=" + uuid.to_string(), mpool::OtherDevices::find,
                                  libmpool::library_logger()));
  } catch (const mpool::Error& error) {
    if (error.code() == ENODEV) raise_unknown(name);
    throw;
  }
}

std::set<mpool::Uuid> uuids_on_devices(const std::string& name) {
  std::set<mpool::Uuid> uuids;
  for (const auto& device : mpool::peek_devices(mpool::list_block_devices())) {
    if (device.superblock.pool_name == name) uuids.insert(device.superblock.pool_uuid);
  }
  return uuids;
}

// By name, UUID or, with a '/', by paths of devices or of an image.
Found find_pool(const char* text) {
  require(text);
  const std::string name(text);
  if (name.contains('/'))
    return found_on_devices(
        name, mpool::resolve_pool(name, mpool::OtherDevices::find, libmpool::library_logger()));
  if (const auto uuid = mpool::Uuid::parse(name)) {
    if (auto active = libmpool::find_active(*uuid)) return found_active(std::move(*active));
    return find_by_uuid(name, *uuid);
  }
  libmpool::check_name(text);
  if (auto active = libmpool::find_active(name)) return found_active(std::move(*active));
  const auto uuids = uuids_on_devices(name);
  if (uuids.empty()) raise_unknown(name);
  if (uuids.size() > 1) mpool::raise(ENOTUNIQ, name, "several pools have this name: use a UUID");
  return find_by_uuid(name, *uuids.begin());
}

void refuse_open(const std::string& name) {
  if (!libmpool::is_open(name)) return;
  throw ReportedError(EBUSY, MPOOL_RC_STAT, name, "is open");
}

void refuse_taken(const std::string& name) {
  if (libmpool::find_active(name) || !uuids_on_devices(name).empty()) {
    throw ReportedError(EEXIST, MPCTL_RC_MPEXIST, name, "a pool of this name exists");
  }
}

std::uint64_t zone_size_from(std::uint32_t mib) {
  if (mib == 0) mib = MPOOL_MBSIZE_MB_DEFAULT;
  if (!std::has_single_bit(mib) || mib > kMaxZoneMib) {
    throw ReportedError(EINVAL, MPOOL_RC_PARM, "mblock size", "not a power of two, 1 to 64 MiB");
  }
  return mib * libmpool::kMiB;
}

std::optional<std::uint64_t> capacity_from(std::uint16_t mib) {
  if (mib == 0) return std::nullopt;
  return mib * libmpool::kMiB;
}

mpool::CreateOptions create_options(const char* name, const mpool_params& params) {
  const auto given = libmpool::settings_from(params);
  mpool::CreateOptions options{.name = name,
                               .zone_size = zone_size_from(params.mp_mblocksz[MP_MED_CAPACITY]),
                               .mdc0_capacity = capacity_from(params.mp_mdc0cap),
                               .mdc_capacity = capacity_from(params.mp_mdcncap),
                               .root_capacity = MPOOL_ROOT_LOG_CAP,
                               .uid = given.uid.value_or(0),
                               .gid = given.gid.value_or(kDefaultGroup),
                               .mode = given.mode.value_or(kDefaultMode),
                               .label = given.label.value_or(MPOOL_LABEL_DEFAULT)};
  if (params.mp_mdcnum != 0) options.mdc_count = params.mp_mdcnum;
  if (params.mp_spare_cap != MPOOL_SPARES_INVALID) options.spare_percent = params.mp_spare_cap;
  return options;
}

// Opens a device for a pool. EBUSY, with the report's code, when it has content.
std::unique_ptr<mpool::Device> claim(const std::string& path, uint32_t flags) {
  using mpool::DeviceContent;
  const bool force = (flags & kForce) != 0;
  try {
    auto device = mpool::claim_device(
        path, force ? DeviceContent::overwrite : DeviceContent::refuse, libmpool::library_logger());
    if (force) mpool::wipe_device(device);
    return device;
  } catch (const mpool::Error& error) {
    switch (error.code()) {
      case EEXIST:
        throw ReportedError(EBUSY, MPOOL_RC_MAGIC, path, error.detail());
      case EBUSY:
        throw ReportedError(EBUSY, MPCTL_RC_DEVACTIVATED, path, error.detail());
      case ENOTBLK:
        throw ReportedError(ENOTBLK, MPCTL_RC_INVALDEV, path, error.detail());
      default:
        throw;
    }
  }
}

// Nothing else has the devices open. A device that is gone is not open.
std::vector<std::unique_ptr<mpool::Device>> open_idle(const Found& pool) {
  try {
    return mpool::open_pool_devices(pool.devices, mpool::OpenMode::activate,
                                    {.logger = libmpool::library_logger()});
  } catch (const mpool::Error& error) {
    if (error.code() == EBUSY) throw ReportedError(EBUSY, MPOOL_RC_STAT, pool.name, error.detail());
    throw;
  }
}

// A copy for C programs, which free(3) it.
void give_vector(const std::vector<mpool_params>& pools, int* count, mpool_params** vector) {
  mpool_params* copy = nullptr;
  if (!pools.empty()) {
    copy = static_cast<mpool_params*>(std::calloc(pools.size(), sizeof(mpool_params)));
    if (copy == nullptr) throw std::bad_alloc();
    std::ranges::copy(pools, copy);
  }
  *count = static_cast<int>(pools.size());
  *vector = copy;
}

}  // namespace

void mpool_params_init(mpool_params* params) {
  if (params == nullptr) return;
  *params = {};
  params->mp_uid = static_cast<uid_t>(-1);
  params->mp_gid = static_cast<gid_t>(-1);
  params->mp_mode = static_cast<mode_t>(-1);
  params->mp_spare_cap = params->mp_spare_stg = MPOOL_SPARES_INVALID;
  params->mp_ra_pages_max = MPOOL_RA_PAGES_INVALID;
}

mpool_err_t mpool_create(const char* name, const char* device, mpool_params* params, uint32_t flags,
                         struct mpool_devrpt* report) {
  return guarded(report, [&] {
    libmpool::check_name(name);
    require(device);
    mpool_params wanted;
    mpool_params_init(&wanted);
    if (params != nullptr) wanted = *params;
    const mpool::CreateOptions options = create_options(name, wanted);
    const RegistryLock lock;
    refuse_taken(name);
    const std::string path = absolute(std::string(device));
    auto claimed = claim(path, flags);
    const libmpool::SignalBlock block;
    mpool::Pool::create(*claimed, nullptr, options);
    std::vector<std::unique_ptr<mpool::Device>> devices;
    devices.push_back(std::move(claimed));
    const auto pool = mpool::Pool::activate(
        std::move(devices), {.mdc_count = options.mdc_count, .logger = libmpool::library_logger()});
    auto settings = libmpool::settings_from(wanted);
    settings = {.user_type = settings.user_type,
                .max_readahead_pages = settings.max_readahead_pages};
    if (settings != mpool::Pool::Settings{}) pool->configure(settings);
    const ActivePool active{.params = libmpool::params_of(*pool), .devices = {path}};
    libmpool::record_active(active);
    if (params != nullptr) *params = active.params;
  });
}

mpool_err_t mpool_destroy(const char* name, uint32_t, struct mpool_devrpt* report) {
  return guarded(report, [&] {
    const RegistryLock lock;
    const Found pool = find_pool(name);
    refuse_open(pool.name);
    mpool::destroy_pool(open_idle(pool));
    if (pool.active) libmpool::forget_active(pool.name);
  });
}

mpool_err_t mpool_activate(const char* name, mpool_params* params, uint32_t,
                           struct mpool_devrpt* report) {
  return guarded(report, [&] {
    const RegistryLock lock;
    Found found = find_pool(name);
    mpool::Pool::Settings settings;
    if (params != nullptr) {
      settings = libmpool::settings_from(*params);
      settings.max_readahead_pages.reset();
    }
    // An active pool that is open here, or by another process, keeps its settings.
    if (!found.active) {
      if (libmpool::find_active(found.name)) {
        throw ReportedError(EEXIST, MPCTL_RC_MPEXIST, found.name, "another pool has this name");
      }
      found.active = ActivePool{.params = {}, .devices = found.devices};
    } else if (settings == mpool::Pool::Settings{} || libmpool::is_open(found.name)) {
      if (std::exchange(found.active->only_mounted, false)) libmpool::record_active(*found.active);
      if (params != nullptr) *params = found.active->params;
      return;
    }
    const auto pool = libmpool::activate_engine(found.devices);
    if (settings != mpool::Pool::Settings{}) pool->configure(settings);
    found.active->params = libmpool::params_of(*pool);
    libmpool::record_active(*found.active);
    if (params != nullptr) *params = found.active->params;
  });
}

mpool_err_t mpool_deactivate(const char* name, uint32_t, struct mpool_devrpt* report) {
  return guarded(report, [&] {
    const RegistryLock lock;
    const Found pool = find_pool(name);
    if (!pool.active) throw ReportedError(ENXIO, MPCTL_RC_NOTACTIVATED, pool.name, "is not active");
    refuse_open(pool.name);
    std::vector<std::unique_ptr<mpool::Device>> held;
    try {
      held = open_idle(pool);
    } catch (const mpool::Error& error) {
      if (error.code() == EBUSY) throw;  // otherwise its devices are gone
    }
    libmpool::forget_active(pool.name);
  });
}

mpool_err_t mpool_mclass_add(const char* name, const char* device, mp_media_classp mclass,
                             mpool_params* params, uint32_t flags, struct mpool_devrpt* report) {
  return guarded(report, [&] {
    libmpool::check_name(name);
    require(device);
    if (static_cast<unsigned>(mclass) >= MP_MED_NUMBER) {
      throw ReportedError(EINVAL, MPOOL_RC_PARM, name, "no such media class");
    }
    const std::uint64_t zone_size =
        zone_size_from(params != nullptr ? params->mp_mblocksz[mclass] : 0);
    const RegistryLock lock;
    auto active = libmpool::find_active(std::string(name));
    if (!active) throw ReportedError(EINVAL, MPCTL_RC_NOTACTIVATED, name, "is not active");
    refuse_open(name);
    const auto pool = libmpool::activate_engine(active->devices);
    if (mclass == MP_MED_CAPACITY || pool->has_class(mpool::MediaClass::staging)) {
      throw ReportedError(EEXIST, MPOOL_RC_STAT, name, "has a device of that media class");
    }
    const std::string path = absolute(std::string(device));
    const libmpool::SignalBlock block;
    pool->add_staging(claim(path, flags), zone_size);
    active->devices.push_back(path);
    active->params = libmpool::params_of(*pool);
    libmpool::record_active(*active);
    if (params != nullptr) params->mp_mblocksz[mclass] = active->params.mp_mblocksz[mclass];
  });
}

mpool_err_t mpool_rename(const char* old_name, const char* new_name, uint32_t flags,
                         struct mpool_devrpt* report) {
  return guarded(report, [&] {
    require(old_name, new_name);
    libmpool::check_name(new_name);
    const RegistryLock lock;
    const Found found = find_pool(old_name);
    if (found.active) throw ReportedError(EBUSY, MPOOL_RC_STAT, found.name, "is active");
    if ((flags & kForce) == 0) refuse_taken(new_name);
    libmpool::activate_engine(found.devices)->rename(new_name);
  });
}

mpool_err_t mpool_scan(int* count, mpool_params** vector, struct mpool_devrpt* report) {
  return guarded(report, [&] {
    require(count);
    require(vector);
    std::vector<mpool_params> pools;
    std::set<mpool::Uuid> known;
    const auto add = [&](const mpool::Uuid& uuid, const std::string& name) {
      if (!known.insert(uuid).second) return;
      mpool_params& params = pools.emplace_back();
      libmpool::copy_uuid(uuid, params.mp_poolid);
      libmpool::copy_text(name, params.mp_name);
    };
    for (const ActivePool& active : libmpool::list_active())
      add(libmpool::uuid_from(active.params.mp_poolid), active.name());
    for (const auto& device : mpool::peek_devices(mpool::list_block_devices()))
      add(device.superblock.pool_uuid, device.superblock.pool_name);
    give_vector(pools, count, vector);
  });
}

mpool_err_t mpool_list(int* count, mpool_params** vector, struct mpool_devrpt* report) {
  return guarded(report, [&] {
    require(count);
    require(vector);
    std::vector<mpool_params> pools;
    for (const ActivePool& active : libmpool::list_active())
      pools.push_back(active.params);
    give_vector(pools, count, vector);
  });
}

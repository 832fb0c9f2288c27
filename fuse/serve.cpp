#include "fuse/serve.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <memory>
#include <new>
#include <set>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/cache/reaper.h"
#include "engine/io/file_descriptor.h"
#include "engine/io/overlay_device.h"
#include "engine/names/namespace.h"
#include "engine/pool/discovery.h"
#include "engine/pool/path_list.h"
#include "engine/pool/pool.h"
#include "fuse/control/control_tree.h"
#include "fuse/control/jobs_file.h"
#include "fuse/control/maps.h"
#include "fuse/control/metrics_file.h"
#include "fuse/control/object_control.h"
#include "fuse/control/object_files.h"
#include "fuse/control/status.h"
#include "fuse/control/tunable_files.h"
#include "fuse/mount_table.h"
#include "fuse/native/native_reads.h"
#include "fuse/native/reader_watch.h"
#include "fuse/native/view_devices.h"
#include "fuse/ops/file_system.h"
#include "fuse/registration.h"
#include "fuse/session.h"

namespace mpoolfs {

namespace {

using Devices = std::vector<std::unique_ptr<mpool::Device>>;

// Maximum wait for a daemon whose mount is gone already but which may still be writing.
constexpr std::chrono::seconds kEndingTime{15};
constexpr std::chrono::milliseconds kRetryTime{20};

// Bytes. Each mlog of a log must hold a record of the maximum request size, with its descriptors.
constexpr std::uint64_t kMinMlogSize = 2u << 20;

// The mount of a pool with one of the UUIDs, by devices: the original of a copy, or another copy.
std::optional<MountEntry> find_copy_mount(std::span<const MountEntry> mounts,
                                          const std::set<mpool::Uuid>& uuids) {
  for (const MountEntry& mount : mounts) {
    if (mount.type != kMountType || mount.source.find('/') == std::string::npos) continue;
    for (const mpool::FoundDevice& found : mpool::peek_devices(mpool::split_paths(mount.source))) {
      if (uuids.contains(found.superblock.pool_uuid)) return mount;
    }
  }
  return std::nullopt;
}

// Throws EBUSY when the pool is mounted, here or in another mount namespace.
void refuse_mounted(const Options& options, const mpool::Error& busy) {
  // The possible names of the pool in the mount table.
  std::vector<std::string> names{options.pool};
  std::set<mpool::Uuid> uuids;
  for (const mpool::FoundDevice& found : mpool::peek_devices(options.device_paths)) {
    names.push_back(found.superblock.pool_name);
    names.push_back("UUID=" + found.superblock.pool_uuid.to_string());
    uuids.insert(found.superblock.pool_uuid);
  }
  const std::vector<MountEntry> mounts = read_mounts();
  auto mounted = find_pool_mount(mounts, names, options.device_paths);
  if (!mounted) mounted = find_copy_mount(mounts, uuids);
  if (mounted) {
    mpool::raise(EBUSY, busy.subject(), "{}; the pool is mounted on {}", busy.detail(),
                 mounted->mount_point);
  }
  if (const auto elsewhere = find_pool_mount_elsewhere(names, options.device_paths)) {
    mpool::raise(EBUSY, busy.subject(),
                 "in use: the pool is mounted on {} in the mount namespace of process {} ({}); "
                 "nsenter -m -t {} umount {} unmounts it there",
                 elsewhere->mount.mount_point, elsewhere->process, elsewhere->program,
                 elsewhere->process, elsewhere->mount.mount_point);
  }
}

// For a device that can be read but not written: the message says how to mount it.
[[noreturn]] void refuse_write_protected(const mpool::Error& error) {
  const mpool::FileDescriptor readable(::open(error.subject().c_str(), O_RDONLY | O_CLOEXEC));
  if (!readable) throw error;
  mpool::raise(error.code(), error.subject(), "{}: write-protected; mount with -o ro",
               error.detail());
}

bool is_refusal(int code) {
  return code == EROFS || code == EACCES || code == EPERM;
}

Devices open_devices(const Options& options, const Environment& environment) {
  const mpool::OpenOptions opening{
      .tolerate =
          [&](const std::string& path) { return is_held_by_views(path, environment.logger); },
      .logger = environment.logger,
      .clock = &environment.clock};
  if (!options.read_only) {
    return mpool::open_pool_devices(options.device_paths, mpool::OpenMode::activate, opening);
  }
  Devices overlaid;
  for (auto& device :
       mpool::open_pool_devices(options.device_paths, mpool::OpenMode::inspect, opening)) {
    overlaid.push_back(std::make_unique<mpool::OverlayDevice>(std::move(device)));
  }
  return overlaid;
}

// umount(8) returns before the daemon has finished, so opening a busy pool that is not mounted is
// retried for a while.
Devices open_devices_patiently(const Options& options, const Environment& environment) {
  mpool::Clock& clock = environment.clock;
  const mpool::Clock::Time deadline = clock.now() + kEndingTime;
  while (true) {
    try {
      return open_devices(options, environment);
    } catch (const mpool::Error& error) {
      if (is_refusal(error.code()) && !options.read_only) refuse_write_protected(error);
      if (error.code() != EBUSY) throw;
      refuse_mounted(options, error);
      if (clock.now() >= deadline) {
        mpool::raise(EBUSY, error.subject(), "{}: is it mounted already? (see `mpool list`)",
                     error.detail());
      }
    }
    clock.sleep_until(clock.now() + kRetryTime);
  }
}

// The pool can be used without a missing staging device; the message says how.
std::unique_ptr<mpool::Pool> activate(const Options& options, const Environment& environment,
                                      Devices devices) {
  try {
    mpool::ActivateOptions activation;
    activation.force = options.force;
    activation.logger = environment.logger;
    activation.clock = &environment.clock;
    if (options.read_only) activation.on_damage = mpool::OnDamage::report;
    return mpool::Pool::activate(std::move(devices), activation);
  } catch (const mpool::Error& error) {
    if (error.code() != ENODEV || options.force) throw;
    mpool::raise(ENODEV, error.subject(),
                 "{} (name all devices of the pool joined with ','; when the staging device is "
                 "lost, -o force mounts what is on capacity)",
                 error.detail());
  }
}

void warn_if_foreign(const mpool::Namespace& names, const mpool::Pool& pool) {
  if (!names.foreign()) return;
  pool.log().warn(
      "pool {}: its root metadata belongs to another program: the mount is empty and "
      "read-only, the pool's objects are left alone",
      pool.name());
}

void warn_of_damage(const mpool::Pool& pool) {
  const std::size_t damages = pool.damage().size();
  if (damages == 0) return;
  pool.log().warn(
      "pool {}: DAMAGED in {} places (above, and in .mpool/status.json): the mount shows what can "
      "be read, files may be missing or old; nothing is written",
      pool.name(), damages);
}

// Makes everything durable. Throws Error when that is impossible: the mount did not end cleanly,
// and acknowledged changes are lost.
void finish(mpool::Namespace& names) {
  std::string why = "a device failed for writing";
  try {
    names.sync();
    if (!names.losses().device_failed) return;
  } catch (const std::exception& error) {
    why = error.what();
  }
  const mpool::Losses lost = names.losses();
  mpool::raise(EIO, "",
               "the mount ended with an error: {}; lost: {} changes of the tree, the content of {} "
               "files, appended records of {} append-only files",
               why, lost.changes, lost.files, lost.logs);
}

// Bytes. Pools of other programs may have other settings, or none.
std::uint64_t max_map_size(const mpool::ConfigRecord& config) {
  const std::uint32_t shift = config.max_map_shift;
  return shift >= 12 && shift < 64 ? std::uint64_t{1} << shift : mpool::Collection::kMaxSize;
}
std::uint64_t map_read_ahead(const mpool::ConfigRecord& config) {
  constexpr std::uint64_t kMaxPages = 32;
  return std::min<std::uint64_t>(config.max_readahead_pages, kMaxPages) * mpool::kPageSize;
}

void serve(const Options& options, mpool::Pool& pool, Startup& startup) {
  mpool::NamespaceOptions namespace_options;
  namespace_options.read_only = options.read_only;
  namespace_options.sync = options.sync;
  namespace_options.log_mlog_size = kMinMlogSize;
  namespace_options.pack_max = options.pack_max;
  ViewDevices devices(pool);
  // A mount without changes does not affect them.
  namespace_options.hold_deletes = !options.read_only && devices.has_other_readers();
  ReaderWatch readers(pool.clock(), pool.metrics());
  namespace_options.reads_active = [&readers] { return readers.reads_active(); };
  const auto names = mpool::Namespace::mount(pool, namespace_options);
  warn_if_foreign(*names, pool);
  warn_of_damage(pool);
  mpool::Reaper reaper(pool.jobs(), options.reaper, {}, mpool::Reaper::system_memory,
                       pool.logger());
  NativeReads native(pool, *names, std::move(devices), options.native,
                     namespace_options.hold_deletes, readers, reaper,
                     map_read_ahead(pool.config()));
  FileSystem file_system{.pool = pool,
                         .names = *names,
                         .presentation = {.uid = options.uid, .gid = options.gid},
                         .handles = {},
                         .control = nullptr,
                         .native = native,
                         .readers = readers,
                         .reaper = reaper};
  SharedTransportInfo transport;
  Maps maps(
      *names, native, reaper,
      [&](mpool::InodeNumber inode, std::uint64_t offset, std::uint64_t size) {
        if (file_system.notifier != nullptr) file_system.notifier->drop_pages(inode, offset, size);
      },
      pool.logger(), max_map_size(pool.config()));
  ProgramObjects objects(pool, *names, options.read_only);
  ControlTree control(pool.clock().wall_time(), pool.clock());
  const auto mount_info = [&]() -> MountInfo {
    return {.options = options,
            .foreign = names->foreign(),
            .open_files = file_system.handles.count(),
            .transport = transport.get(),
            .native = native.stats(),
            .reaper = reaper.stats(),
            .metadata = names->metadata(),
            .packs = names->packs(),
            .reads = readers.requests()};
  };
  const auto add_text = [&](const char* name, TextFile::Generator generate) {
    control.add(name, std::make_unique<TextFile>(std::move(generate)));
  };
  add_text("status.json", [&] { return status_text(pool, mount_info()); });
  control.add("jobs", make_jobs_file(pool.jobs()));
  control.add("tunable", std::make_unique<TunableFiles>(tunables_of(reaper), pool.logger()));
  control.add("ctl", std::make_unique<ObjectControl>(objects, maps));
  control.add("mblock", std::make_unique<ObjectFiles>(objects, *names, mpool::ObjectType::mblock));
  control.add("mlog", std::make_unique<ObjectFiles>(objects, *names, mpool::ObjectType::mlog));
  maps.mounted_at(control.add(
      "map", std::make_unique<MapFiles>(
                 maps, MapFiles::Owner{.uid = pool.config().uid, .gid = pool.config().gid})));
  add_text("references", [&] { return names->references(); });
  add_text("metrics", [&] { return metrics_text(pool, mount_info()); });
  objects.on_settle([&control, &maps] {
    control.settle();
    maps.sweep_removed();
  });
  file_system.control = &control;
  {
    Session session(file_system, options, transport);
    const Registration registration(pool, options);
    objects.on_settings([&registration] { registration.update(); });
    session.run([&startup] { startup.succeeded(); });
  }
  const std::size_t left = file_system.handles.count();
  if (left != 0) pool.log().warn("pool {}: unmounted with {} files open", pool.name(), left);
  file_system.handles.close_all();
  finish(*names);
}

std::vector<std::string> absolute_paths(std::vector<std::string> paths) {
  for (std::string& path : paths) {
    std::error_code error;
    const auto real = std::filesystem::canonical(path, error);
    // A path that cannot be resolved cannot be opened either; opening reports the reason.
    path = (error ? std::filesystem::absolute(path) : real).string();
  }
  return paths;
}

}  // namespace

void resolve(Options& options, const Environment& environment) {
  try {
    options.device_paths = absolute_paths(
        mpool::resolve_pool(options.pool, mpool::OtherDevices::find, environment.logger));
    std::error_code ignored;  // an inaccessible path is no file
    const bool by_devices = options.pool.find('/') != std::string::npos ||
                            std::filesystem::exists(options.pool, ignored);
    // The devices as they were named: mount(8) compares them with fstab.
    options.source = by_devices
                         ? mpool::join_paths(absolute_paths(mpool::resolve_pool(
                               options.pool, mpool::OtherDevices::leave, environment.logger)))
                         : options.pool;
  } catch (const mpool::Error& error) {
    mpool::raise(error.code(), "pool " + options.pool, "{}", error.what());
  }
}

void check_mount_point(Options& options) {
  struct stat point {};
  const std::string given = options.mount_point;
  struct statvfs stats {};
  // The kernel may have the attributes of a dead mount's root in its cache; it must query statvfs.
  if (::stat(given.c_str(), &point) != 0 || ::statvfs(given.c_str(), &stats) != 0) {
    const int code = errno;
    const char* advice = "";
    if (code == ENOENT) advice = ": make the directory first";
    // Shortly after the daemon's end the kernel returns one of the other two.
    if (code == ENOTCONN || code == ECONNABORTED || code == ECANCELED)
      advice = ": the mount of a daemon that died, umount it first";
    mpool::raise(code, "mount point " + given, "{}{}", mpool::errno_text(code), advice);
  }
  if (!S_ISDIR(point.st_mode)) {
    mpool::raise(ENOTDIR, "mount point " + given, "not a directory");
  }
  if (::access("/dev/fuse", F_OK) != 0) {
    mpool::raise(errno, "/dev/fuse",
                 "{}: the kernel has no FUSE, or its module is not loaded (modprobe fuse)",
                 mpool::errno_text(errno));
  }
  options.mount_point = std::filesystem::canonical(given).string();
}

void mount_and_serve(const Options& options, const Environment& environment, Startup& startup) {
  try {
    const auto pool = activate(options, environment, open_devices_patiently(options, environment));
    serve(options, *pool, startup);
  } catch (const mpool::Error& error) {
    mpool::raise(error.code(), "pool " + options.pool, "{}", error.what());
  } catch (const std::bad_alloc&) {
    mpool::raise(ENOMEM, "pool " + options.pool, "not enough memory to serve it");
  } catch (const std::system_error& error) {
    mpool::raise(error.code().value(), "pool " + options.pool, "a thread cannot be started: {}",
                 error.what());
  }
}

}  // namespace mpoolfs

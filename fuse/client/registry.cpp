#include "fuse/client/registry.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "fuse/client/params.h"

namespace libmpool {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kRoot = MPOOL_RUNDIR_ROOT;
constexpr const char* kStateFile = "pool.json";
// Not the name of a pool.
constexpr const char* kLockFile = ".registry";
constexpr mode_t kRootMode = 0755;
constexpr mode_t kStateMode = 0644;  // the directory decides
constexpr std::size_t kMaxStateSize = 65536;

std::string directory_of(const std::string& name) {
  return fmt::format("{}/{}", kRoot, name);
}

void make_directory(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    mpool::raise_system(errno, path, "mkdir");
  }
}

// x where r or w is.
mode_t directory_mode(mode_t mode) {
  return (mode & 0777) | ((mode >> 2 | mode >> 1) & 0111);
}

// Written by root, by this user, or by the owner of the pool.
bool is_trusted(int fd, const std::string& directory) {
  struct stat file {};
  struct stat parent {};
  if (::fstat(fd, &file) != 0 || ::lstat(directory.c_str(), &parent) != 0) return false;
  return S_ISREG(file.st_mode) && S_ISDIR(parent.st_mode) &&
         (file.st_uid == 0 || file.st_uid == ::geteuid() || file.st_uid == parent.st_uid);
}

std::optional<std::string> read_state(const std::string& directory) {
  const std::string path = directory + "/" + kStateFile;
  const mpool::FileDescriptor fd(
      ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    mpool::raise_system(errno, path, "open");
  }
  if (!is_trusted(fd.get(), directory)) mpool::raise(EPERM, path, "has another owner");
  std::string text(kMaxStateSize, '\0');
  const ssize_t length = ::read(fd.get(), text.data(), text.size());
  if (length < 0) mpool::raise_system(errno, path, "read");
  text.resize(static_cast<std::size_t>(length));
  return text;
}

ActivePool parse_state(const std::string& path, const std::string& text) {
  try {
    const Json json = Json::parse(text);
    ActivePool pool{.params = params_from_json(json),
                    .devices = json.at("devices").get<std::vector<std::string>>(),
                    .mount_point = json.value("mount_point", ""),
                    .daemon = json.value("daemon", pid_t{0}),
                    .only_mounted = json.value("only_mounted", false)};
    if (!pool.devices.empty()) return pool;
  } catch (const Json::exception&) {
    // As without devices.
  }
  mpool::raise(EINVAL, path, "is not the state of an active pool");
}

void write_whole(const std::string& path, const std::string& text) {
  const mpool::FileDescriptor fd(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, kStateMode));
  if (!fd) mpool::raise_system(errno, path, "create");
  const ssize_t written = ::write(fd.get(), text.data(), text.size());
  if (written < 0) mpool::raise_system(errno, path, "write");
  if (static_cast<std::size_t>(written) != text.size()) mpool::raise(ENOSPC, path, "no room");
  // Regardless of the process's umask.
  if (::fchmod(fd.get(), kStateMode) != 0) mpool::raise_system(errno, path, "chmod");
}

void set_owner(const std::string& directory, const mpool_params& params) {
  struct stat now {};
  if (::lstat(directory.c_str(), &now) != 0) mpool::raise_system(errno, directory, "stat");
  if ((now.st_uid != params.mp_uid || now.st_gid != params.mp_gid) &&
      ::lchown(directory.c_str(), params.mp_uid, params.mp_gid) != 0) {
    mpool::raise_system(errno, directory, "chown");
  }
  const mode_t mode = directory_mode(params.mp_mode);
  if ((now.st_mode & 0777) != mode && ::chmod(directory.c_str(), mode) != 0) {
    mpool::raise_system(errno, directory, "chmod");
  }
}

// Active because of a mount whose daemon was killed.
bool was_abandoned(const ActivePool& pool) {
  return pool.only_mounted && pool.daemon > 0 && ::kill(pool.daemon, 0) != 0 && errno == ESRCH;
}

}  // namespace

RegistryLock::RegistryLock() {
  make_directory(kRoot, kRootMode);
  const std::string path = directory_of(kLockFile);
  fd_ = mpool::FileDescriptor(
      ::open(path.c_str(), O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!fd_) mpool::raise_system(errno, path, "open");
  while (::flock(fd_.get(), LOCK_EX) != 0) {
    if (errno != EINTR) mpool::raise_system(errno, path, "flock");
  }
}

std::optional<ActivePool> find_active(const std::string& name) {
  const std::string directory = directory_of(name);
  const auto text = read_state(directory);
  if (!text) return std::nullopt;
  ActivePool pool = parse_state(directory, *text);
  if (pool.name() != name) mpool::raise(EINVAL, directory, "is the state of another pool");
  return pool;
}

std::optional<ActivePool> find_active(const mpool::Uuid& uuid) {
  for (ActivePool& pool : list_active()) {
    if (uuid_from(pool.params.mp_poolid) == uuid) return std::move(pool);
  }
  return std::nullopt;
}

std::vector<ActivePool> list_active() {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(kRoot, error)) {
    // Beside directories of pools there are files of locks (engine/io/media_lock.h).
    if (entry.symlink_status(error).type() == std::filesystem::file_type::directory) {
      names.push_back(entry.path().filename());
    }
  }
  std::ranges::sort(names);
  std::vector<ActivePool> pools;
  for (const std::string& name : names) {
    try {
      if (auto pool = find_active(name)) pools.push_back(std::move(*pool));
    } catch (const mpool::Error&) {
      // Of another user, or no pool.
    }
  }
  return pools;
}

void record_active(const ActivePool& pool) {
  const std::string directory = directory_of(pool.name());
  make_directory(directory, 0700);
  Json json = params_to_json(pool.params);
  json["devices"] = pool.devices;
  if (!pool.mount_point.empty()) {
    json["mount_point"] = pool.mount_point;
    json["daemon"] = pool.daemon;
    json["only_mounted"] = pool.only_mounted;
  }
  const std::string path = directory + "/" + kStateFile;
  const std::string fresh = fmt::format("{}.{}", path, ::getpid());
  write_whole(fresh, json.dump(2, ' ', true, Json::error_handler_t::replace) + "\n");
  if (::rename(fresh.c_str(), path.c_str()) != 0) mpool::raise_system(errno, path, "rename");
  set_owner(directory, pool.params);
}

void record_mount(ActivePool pool) {
  const RegistryLock lock;
  const auto present = find_active(pool.name());
  if (present && uuid_from(present->params.mp_poolid) != uuid_from(pool.params.mp_poolid) &&
      !was_abandoned(*present)) {
    mpool::raise(EEXIST, present->devices.front(),
                 "is an active pool of the same name; rename one of them (mpool rename)");
  }
  pool.only_mounted = !present || present->only_mounted;
  record_active(pool);
}

void forget_mount(const std::string& name, const mpool::Uuid& uuid) {
  const RegistryLock lock;
  auto present = find_active(name);
  if (!present || uuid_from(present->params.mp_poolid) != uuid || present->daemon != ::getpid()) {
    return;
  }
  if (present->only_mounted) return forget_active(name);
  present->mount_point.clear();
  record_active(*present);
}

void forget_destroyed(const mpool::Uuid& uuid) {
  if (!find_active(uuid)) return;
  const RegistryLock lock;
  if (const auto active = find_active(uuid)) forget_active(active->name());
}

void record_renamed(const mpool::Uuid& uuid, const std::string& name) {
  if (!find_active(uuid)) return;
  const RegistryLock lock;
  auto active = find_active(uuid);
  if (!active || active->name() == name) return;
  forget_active(active->name());
  copy_text(name, active->params.mp_name);
  // Another active pool keeps its name.
  if (!find_active(name)) record_active(*active);
}

void forget_active(const std::string& name) {
  // Does not follow symbolic links.
  std::filesystem::remove_all(directory_of(name));
}

}  // namespace libmpool

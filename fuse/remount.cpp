#include "fuse/remount.h"

#include <cerrno>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/mount.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/io/file_descriptor.h"
#include "fuse/control/status.h"
#include "fuse/mount_flags.h"
#include "fuse/mount_table.h"

namespace mpoolfs {

namespace {

using Json = nlohmann::ordered_json;

std::string find_mount_point(const Options& options) {
  std::error_code error;
  const auto path = std::filesystem::canonical(options.mount_point, error);
  if (error) mpool::raise(error.value(), options.mount_point, "{}", error.message());
  const auto mount = find_mount(read_mounts(), path.string());
  if (!mount || mount->type != kMountType) {
    mpool::raise(EINVAL, options.mount_point, "remount: no mount of mpoolfs");
  }
  return path.string();
}

Json status_of(const std::string& point) {
  std::ifstream file(point + "/.mpool/status.json");
  Json status = Json::parse(file, nullptr, false);
  if (!status.is_object() || !status.contains("options")) {
    mpool::raise(EIO, point, "remount: the mount's status cannot be read");
  }
  return status;
}

// Options fixed at the daemon's start cannot change: given ones must equal those of the mount.
// mount(8) adds the options of fstab to those that the user typed.
void refuse_changes(const Options& options, const Json& status, const std::string& point) {
  const Json wanted = options_json(options);
  const Json not_given = options_json(Options{});
  const Json& has = status.at("options");
  for (const auto& [name, value] : wanted.items()) {
    if (value == not_given.at(name) || (has.contains(name) && value == has.at(name))) continue;
    mpool::raise(EINVAL, point, "remount: {} cannot be changed; umount and mount again", name);
  }
}

void refuse_writing(unsigned long flags, const Json& status, const std::string& point) {
  if ((flags & MS_RDONLY) != 0 || !status.at("pool").value("read_only", false)) return;
  mpool::raise(EROFS, point,
               "remount: the pool was mounted read-only; umount and mount again to write");
}

// The daemon handles changes in order: all earlier ones are included.
void make_durable(const std::string& point) {
  const mpool::FileDescriptor root(::open(point.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) mpool::raise_system(errno, point, "open");
  if (::fsync(root.get()) != 0) {
    mpool::raise_system(errno, point, "remounted read-only, but fsync");
  }
}

}  // namespace

void remount(const Options& options) {
  const std::string point = find_mount_point(options);
  const Json status = status_of(point);
  refuse_changes(options, status, point);
  unsigned long flags = apply_mount_flags(mount_flags_of(point), options.mount_flags);
  // Without any flag of access times the kernel keeps the present ones.
  if ((flags & MS_NOATIME) == 0) flags |= MS_RELATIME;
  refuse_writing(flags, status, point);
  if (options.fake) return;
  if (::mount(nullptr, point.c_str(), nullptr, MS_REMOUNT | flags, nullptr) != 0) {
    const int code = errno;
    mpool::raise(code, point, "remount: {}",
                 code == EBUSY ? "files are open for writing" : mpool::errno_text(code));
  }
  if ((flags & MS_RDONLY) != 0) make_durable(point);
}

}  // namespace mpoolfs

// The active pools of this machine: a directory for each below MPOOL_RUNDIR_ROOT
// (fuse/client/README.md, "Activation").
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "engine/base/uuid.h"
#include "engine/io/file_descriptor.h"
#include "fuse/client/api.h"

namespace libmpool {

// An active pool as it is known without its devices.
struct ActivePool {
  mpool_params params{};
  std::vector<std::string> devices;  // absolute paths
  // Where mpoolfs has it mounted, and the process that serves it; empty: nowhere.
  std::string mount_point = {};
  pid_t daemon = 0;
  bool only_mounted = false;  // it is active because of the mount, and as long as that

  std::string name() const { return params.mp_name; }
};

// Threads and processes: functions may be called at any time; a change is seen whole or not at all.
// Errors: Error. Functions that change need a RegistryLock.

// Excludes other changes, by any process. Blocks.
class RegistryLock {
 public:
  RegistryLock();

 private:
  mpool::FileDescriptor fd_;
};

// nullopt: not active. EACCES: this user may not know.
std::optional<ActivePool> find_active(const std::string& name);
std::optional<ActivePool> find_active(const mpool::Uuid& uuid);
// Those that this user may know, by name.
std::vector<ActivePool> list_active();
// Makes or replaces the directory's state, and gives the directory the owner, group and mode of the
// pool.
void record_active(const ActivePool& pool);
// The pool is mounted at `pool.mount_point`, and active from here on. EEXIST: another active pool
// has the name. Takes the lock itself, as the next one.
void record_mount(ActivePool pool);
// That mount has ended, and with it the activation that it made.
void forget_mount(const std::string& name, const mpool::Uuid& uuid);
// The pool was destroyed, or renamed; nothing unless it is active. Both take the lock themselves.
void forget_destroyed(const mpool::Uuid& uuid);
void record_renamed(const mpool::Uuid& uuid, const std::string& name);
// Removes the directory with all that is in it.
void forget_active(const std::string& name);

}  // namespace libmpool

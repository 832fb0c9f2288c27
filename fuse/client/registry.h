// The active pools of this machine: a directory for each below MPOOL_RUNDIR_ROOT
// (fuse/client/README.md, "Activation").
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/base/uuid.h"
#include "engine/io/file_descriptor.h"
#include "fuse/client/api.h"

namespace libmpool {

// An active pool as it is known without its devices.
struct ActivePool {
  mpool_params params{};
  std::vector<std::string> devices;  // absolute paths

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
// Removes the directory with all that is in it.
void forget_active(const std::string& name);

}  // namespace libmpool

#include "fuse/client/pool_table.h"

#include <atomic>
#include <cassert>
#include <cerrno>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include <unistd.h>

#include "engine/base/error.h"
#include "fuse/client/engine_backend.h"
#include "fuse/client/log.h"
#include "fuse/client/mount_backend.h"
#include "fuse/client/pool_source.h"

namespace libmpool {

// Lock order: the table's, then an entry's; an entry's is held while its pool is opened or closed.
struct PoolUse::Entry {
  std::mutex mutex;
  std::unique_ptr<Backend> backend;
  unsigned users = 0;
  bool exclusive = false;
};

namespace {

// The only state of the process. Entries stay, and nothing is destroyed at exit: threads of the
// program may still make calls then.
struct Table {
  std::mutex mutex;
  // By process: a child of fork(2) has nothing of what its parent has open.
  std::map<std::pair<pid_t, std::string>, PoolUse::Entry> entries;
};

PoolUse::Entry& entry_of(const std::string& name) {
  static Table& table = *new Table;
  const std::lock_guard lock(table.mutex);
  return table.entries[{::getpid(), name}];
}

// The pools of this machine: the mount if there is one, else the engine in the process.
class MachinePools : public PoolSource {
 public:
  std::optional<ActivePool> find(const std::string& name) override { return find_active(name); }
  std::unique_ptr<Backend> open(const ActivePool& active) override {
    if (auto mounted = MountBackend::find(active)) return mounted;
    return std::make_unique<EngineBackend>(active);
  }
};

std::atomic<PoolSource*> other_source = nullptr;

}  // namespace

PoolSource& pool_source() {
  static MachinePools& machine = *new MachinePools;
  PoolSource* const other = other_source;
  return other != nullptr ? *other : machine;
}

void use_pool_source(PoolSource& source) {
  other_source = &source;
}

PoolUse PoolUse::open(const ActivePool& active, Sharing sharing) {
  Entry& entry = entry_of(active.name());
  const std::lock_guard lock(entry.mutex);
  if (entry.exclusive || (sharing == Sharing::exclusive && entry.users != 0)) {
    mpool::raise(EBUSY, active.name(), "is open, and one of the opens is exclusive");
  }
  if (entry.users == 0) {
    auto backend = pool_source().open(active);
    backend->share(sharing);
    if (!pool_source().find(active.name())) mpool::raise(ENOENT, active.name(), "was deactivated");
    entry.backend = std::move(backend);
  }
  ++entry.users;
  entry.exclusive = sharing == Sharing::exclusive;
  return {entry, sharing};
}

PoolUse::~PoolUse() {
  if (entry_ == nullptr) return;
  const std::lock_guard lock(entry_->mutex);
  if (--entry_->users == 0) entry_->backend.reset();
  if (sharing_ == Sharing::shared) return;
  entry_->exclusive = false;
  try {
    if (entry_->backend != nullptr) entry_->backend->share(Sharing::shared);
  } catch (const mpool::Error& error) {
    library_logger().error("{}", error.what());
  }
}

PoolUse PoolUse::another() const {
  const std::lock_guard lock(entry_->mutex);
  assert(entry_->users != 0);
  ++entry_->users;
  return {*entry_, Sharing::shared};
}

Backend& PoolUse::operator*() const {
  // Constant as long as there are users.
  return *entry_->backend;
}

bool is_open(const std::string& name) {
  PoolUse::Entry& entry = entry_of(name);
  const std::lock_guard lock(entry.mutex);
  return entry.users != 0;
}

}  // namespace libmpool

#include "fuse/client/pool_table.h"

#include <cassert>
#include <cerrno>
#include <map>
#include <mutex>
#include <optional>

#include <fcntl.h>

#include "engine/base/error.h"
#include "engine/names/namespace.h"
#include "engine/pool/discovery.h"
#include "engine/tree/attributes.h"
#include "engine/tree/records.h"
#include "fuse/client/log.h"
#include "fuse/client/params.h"

namespace libmpool {

// Lock order: the table's, then an entry's; an entry's is held while its pool is opened or closed.
struct PoolUse::Entry {
  std::mutex mutex;
  std::optional<OpenPool> pool;
  unsigned users = 0;
  bool exclusive = false;
};

namespace {

// The only state of the process. Entries stay, and nothing is destroyed at exit: threads of the
// program may still make calls then.
struct Table {
  std::mutex mutex;
  std::map<std::string, PoolUse::Entry> entries;
};

PoolUse::Entry& entry_of(const std::string& name) {
  static Table& table = *new Table;
  const std::lock_guard lock(table.mutex);
  return table.entries[name];
}

}  // namespace

SignalBlock::SignalBlock() {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before_);
}

SignalBlock::~SignalBlock() {
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

std::unique_ptr<mpool::Pool> activate_engine(const std::vector<std::string>& devices) {
  const SignalBlock block;
  return mpool::Pool::activate(
      mpool::open_pool_devices(devices, mpool::OpenMode::activate, {.logger = library_logger()}),
      {.logger = library_logger()});
}

OpenPool::OpenPool(const ActivePool& active)
    : pool_(activate_engine(active.devices)), client_(*pool_) {
  if (pool_->uuid() != uuid_from(active.params.mp_poolid)) {
    mpool::raise(ENOENT, active.name(), "its devices belong to another pool now");
  }
  find_tree();
  open_cached_files();
}

void OpenPool::find_tree() {
  has_owner_record_ = client_.first_record_is(mpool::root_log_id(0), mpool::root_log_id(1),
                                              mpool::names::is_owner_record);
  if (!has_owner_record_) return;
  mpool::NamespaceOptions without_changes;
  without_changes.read_only = true;
  const auto tree = mpool::Namespace::mount(*pool_, without_changes);
  for (const mpool::ObjectRecord& object : pool_->objects()) {
    if (tree->owns(object.id)) tree_objects_.insert(object.id);
  }
}

void OpenPool::open_cached_files() {
  for (const mpool::MediaClass media_class : pool_->classes()) {
    const std::string path = pool_->class_info(media_class).device_name;
    mpool::FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) mpool::raise_system(errno, path, "open");
    cached_files_[static_cast<std::size_t>(media_class)] = std::move(file);
  }
}

int OpenPool::cached_file(mpool::MediaClass media_class) const {
  const auto& file = cached_files_[static_cast<std::size_t>(media_class)];
  if (!file) mpool::raise(ENOENT, pool_->name(), "has no device of that media class");
  return file.get();
}

bool OpenPool::holds_tree() const {
  return has_owner_record_ || pool_->config().user_type == mpool::kTreeUserType;
}

PoolUse PoolUse::open(const ActivePool& active, Sharing sharing) {
  Entry& entry = entry_of(active.name());
  const std::lock_guard lock(entry.mutex);
  if (entry.exclusive || (sharing == Sharing::exclusive && entry.users != 0)) {
    mpool::raise(EBUSY, active.name(), "is open, and one of the opens is exclusive");
  }
  if (entry.users == 0) {
    entry.pool.emplace(active);
    if (!find_active(active.name())) {
      entry.pool.reset();
      mpool::raise(ENOENT, active.name(), "was deactivated");
    }
  }
  ++entry.users;
  entry.exclusive = sharing == Sharing::exclusive;
  return {entry, sharing};
}

PoolUse::~PoolUse() {
  if (entry_ == nullptr) return;
  const std::lock_guard lock(entry_->mutex);
  if (sharing_ == Sharing::exclusive) entry_->exclusive = false;
  if (--entry_->users == 0) entry_->pool.reset();
}

PoolUse PoolUse::another() const {
  const std::lock_guard lock(entry_->mutex);
  assert(entry_->users != 0);
  ++entry_->users;
  return {*entry_, Sharing::shared};
}

OpenPool& PoolUse::operator*() const {
  // Constant as long as there are users.
  return *entry_->pool;
}

bool is_open(const std::string& name) {
  PoolUse::Entry& entry = entry_of(name);
  const std::lock_guard lock(entry.mutex);
  return entry.users != 0;
}

}  // namespace libmpool

// The pools that are open in this process, shared by all their handles and maps.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <signal.h>

#include "engine/client/client_pool.h"
#include "engine/io/file_descriptor.h"
#include "engine/pool/pool.h"
#include "fuse/client/registry.h"

namespace libmpool {

// Blocks all signals of the calling thread: threads that are created meanwhile never handle them.
class SignalBlock {
 public:
  SignalBlock();
  ~SignalBlock();
  SignalBlock(const SignalBlock&) = delete;
  SignalBlock& operator=(const SignalBlock&) = delete;

 private:
  sigset_t before_;
};

// Activates the engine on the devices of a pool. EBUSY: another process has it open or mounted.
std::unique_ptr<mpool::Pool> activate_engine(const std::vector<std::string>& devices);

// A pool with its engine. Threads: all functions may be called at the same time.
class OpenPool {
 public:
  explicit OpenPool(const ActivePool& active);

  mpool::Pool& pool() { return *pool_; }
  mpool::ClientPool& client() { return client_; }
  // A descriptor of the class's device for the page cache. ENOENT without such a class.
  int cached_file(mpool::MediaClass media_class) const;
  // The root MDC holds a tree of a file system, or will.
  bool holds_tree() const;
  // The object belongs to that tree: only a mount may change it.
  bool is_of_tree(mpool::ObjectId id) const { return tree_objects_.contains(id); }

 private:
  void find_tree();
  void open_cached_files();

  std::unique_ptr<mpool::Pool> pool_;
  bool has_owner_record_ = false;
  std::unordered_set<mpool::ObjectId> tree_objects_;  // constant: only mounts make more
  mpool::ClientPool client_;
  std::array<mpool::FileDescriptor, MP_MED_NUMBER> cached_files_;
};

enum class Sharing { shared, exclusive };

// One use of an open pool: a handle or a map. The last one closes it.
class PoolUse {
 public:
  // Opens the pool unless it is open. EBUSY: it is open and one of both is exclusive, or another
  // process has it; ENOENT: it was deactivated meanwhile.
  static PoolUse open(const ActivePool& active, Sharing sharing);
  PoolUse(PoolUse&& other) noexcept
      : entry_(std::exchange(other.entry_, nullptr)), sharing_(other.sharing_) {}
  PoolUse& operator=(PoolUse&&) = delete;
  ~PoolUse();

  // A further, shared use.
  PoolUse another() const;
  OpenPool& operator*() const;
  OpenPool* operator->() const { return &**this; }

  struct Entry;

 private:
  PoolUse(Entry& entry, Sharing sharing) : entry_(&entry), sharing_(sharing) {}
  Entry* entry_;
  Sharing sharing_;
};

// In this process.
bool is_open(const std::string& name);

}  // namespace libmpool

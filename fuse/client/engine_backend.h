// The engine in this process.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include <signal.h>

#include "engine/client/client_pool.h"
#include "engine/io/file_descriptor.h"
#include "engine/pool/pool.h"
#include "fuse/client/backend.h"
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

// The objects of the named tree; empty without one. Reads the tree, changes nothing.
std::unordered_set<mpool::ObjectId> objects_of_tree(mpool::Pool& pool);

// Records the present parameters of the pool in the registry.
class EngineBackend : public Backend {
 public:
  explicit EngineBackend(const ActivePool& active);
  // Of a pool that is not recorded, and whose tree has these objects.
  EngineBackend(std::unique_ptr<mpool::Pool> pool,
                std::unordered_set<mpool::ObjectId> tree_objects);
  mpool::Pool& pool() { return *pool_; }

  void share(Sharing) override {}  // the devices are this process's
  mpool_ioc_pool facts() override;
  mpool_ioc_usage usage() override;
  void change_settings(const mpool_ioc_settings& wanted) override;
  bool holds_tree() override;
  bool is_of_tree(mpool::ObjectId id) override { return tree_objects_.contains(id); }
  void check_changeable(mpool::ObjectId id) override;
  std::vector<mpool::ObjectId> objects() override;
  mpool::ObjectId allocate(mpool::ObjectType type, mpool::MediaClass media_class,
                           std::uint64_t capacity, mpool::SpacePolicy policy) override;
  void commit(mpool::ObjectId id, mpool::ObjectType type) override;
  void abort(mpool::ObjectId id, mpool::ObjectType type) override;
  void remove(mpool::ObjectId id, mpool::ObjectType type) override;
  mblock_props mblock(mpool::ObjectId id) override;
  void write_mblock(mpool::ObjectId id, std::span<const mpool::ConstByteSpan> parts) override;
  void read_mblock(mpool::ObjectId id, std::uint64_t offset,
                   std::span<const mpool::ByteSpan> parts) override;
  std::unique_ptr<PinnedMblocks> pin(std::span<const std::uint64_t> ids,
                                     mpc_vma_advice advice) override;
  mlog_props log(mpool::ObjectId id) override;
  std::unique_ptr<Log> open_log(mpool::ObjectId id, mpool::ClientLog::Options options) override;
  std::unique_ptr<Mdc> open_mdc(mpool::ObjectId first, mpool::ObjectId second) override;

 private:
  void find_tree();
  void open_cached_files();
  void record();

  std::unique_ptr<mpool::Pool> pool_;
  bool has_owner_record_ = false;
  std::unordered_set<mpool::ObjectId> tree_objects_;  // constant: only mounts make more
  mpool::ClientPool client_;
  // For the page cache, of the devices of classes.
  std::array<mpool::FileDescriptor, MP_MED_NUMBER> cached_files_;
};

}  // namespace libmpool

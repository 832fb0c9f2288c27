// A pool that mpoolfs serves, through the control interface of its mount.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "engine/base/uuid.h"
#include "fuse/client/backend.h"
#include "fuse/client/mount_session.h"
#include "fuse/client/registry.h"

namespace libmpool {

// Lock order: the mutex of an mblock that is written is taken alone, so is mutex_.
class MountBackend : public Backend {
 public:
  // Null when the pool is not mounted where this process could see it. EACCES: this user may not.
  static std::unique_ptr<MountBackend> find(const ActivePool& active);
  explicit MountBackend(MountSession session);
  ~MountBackend() override;
  MountBackend(const MountBackend&) = delete;
  MountBackend& operator=(const MountBackend&) = delete;

  void share(Sharing sharing) override;
  mpool_ioc_pool facts() override;
  mpool_ioc_usage usage() override;
  void change_settings(const mpool_ioc_settings& wanted) override;
  bool holds_tree() override;
  bool is_of_tree(mpool::ObjectId id) override;
  void check_changeable(mpool::ObjectId) override {}  // the daemon does that
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
  // An uncommitted mblock of this process.
  struct NewMblock {
    explicit NewMblock(std::uint64_t of) : capacity(of) {}
    const std::uint64_t capacity;
    std::mutex mutex;                 // held during a write
    std::unique_ptr<MountFile> file;  // opened by the first write
    std::uint64_t written = 0;        // bytes
  };
  std::shared_ptr<NewMblock> new_mblock(mpool::ObjectId id) const;  // ENOENT
  void forget(mpool::ObjectId id);
  void call_on(unsigned long command, mpool::ObjectId id, mpool::ObjectType type) const;

  MountSession session_;
  const mpool_ioc_pool facts_at_open_;
  // Names of maps.
  const mpool::Uuid maps_prefix_ = mpool::Uuid::random();
  std::atomic<std::uint64_t> maps_made_ = 0;
  mutable std::mutex mutex_;  // guards new_mblocks_
  std::unordered_map<mpool::ObjectId, std::shared_ptr<NewMblock>> new_mblocks_;
};

}  // namespace libmpool

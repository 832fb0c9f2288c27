// Append-only files (engine/file/README.md, "Append-only files").
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>

#include "engine/file/active_inode.h"
#include "engine/file/dirty_logs.h"
#include "engine/file/object_allocator.h"
#include "engine/tree/recorded_tree.h"

namespace mpool::names {

// The logs that are open, those that stay open without handles, and what is recorded of their
// sizes.
//
// Threads: all functions may be called at the same time; those with an Inode need the locks of a
// change. damage_mutex_ is a leaf.
class LogFiles {
 public:
  LogFiles(RecordedTree& tree, ObjectAllocator& allocator)
      : tree_(tree), pool_(tree.pool()), allocator_(allocator), dirty_logs_(tree.pool()) {}

  std::size_t read(InodeNumber inode, ActiveInode& state, std::uint64_t offset, ByteSpan into);
  // nullopt: at the end.
  void append(InodeNumber inode, const std::shared_ptr<ActiveInode>& state,
              std::optional<std::uint64_t> offset, ConstByteSpan data);
  void erase(InodeNumber inode, ActiveInode& state);
  void sync(InodeNumber inode, ActiveInode& state);
  // The present size; may read the log.
  std::uint64_t size(InodeNumber inode, ActiveInode& state);

  // The last handle of a log was closed: it stays open for the next one, and the oldest durable
  // ones are closed.
  void cache_closed(Inode& inode);
  // Closes the log of an inode that ends.
  void forget(InodeNumber inode, ActiveInode& state);
  // The last writing handle was closed: records when the log was written. A failure is logged.
  void record_times(InodeNumber inode, ActiveInode& state) noexcept;

  // For the journal: see Journal::Owner.
  void write() { dirty_logs_.write(); }
  void make_durable(std::span<Device* const> flushed);
  // A lower bound that is always valid takes the place of a size that was not recorded.
  void forget_size(InodeNumber inode);

  // Throws what a log could not be written with.
  void check() const { dirty_logs_.check(); }
  // The number of logs with appends that are not durable.
  std::size_t dirty() const { return dirty_logs_.size(); }
  // At the end of a mount: records the sizes of logs that are still open; and, after the journal
  // ended, writes what is left and records which sizes are not exact.
  void record_open_sizes();
  void write_rest() { dirty_logs_.sync(); }
  void mark_sizes();

 private:
  using LogReadLock = std::shared_lock<FairMutex>;

  LogReadLock need_log(InodeNumber inode, ActiveInode& state);
  void open_log(InodeNumber inode, ActiveInode& state);
  void report_damage(InodeNumber inode, const Log& log);
  ObjectRecord add_mlog(InodeNumber inode, std::uint64_t size);
  bool is_size_recorded(const Inode& inode) const;
  void record_size(Inode& inode);
  // Closes a log, which unpins its mlogs. The caller holds log_lock, or destroys the inode.
  void drop_log(InodeNumber inode, ActiveInode& state);
  void close_clean_logs();

  RecordedTree& tree_;
  Pool& pool_;
  ObjectAllocator& allocator_;
  DirtyLogs dirty_logs_;
  // Open logs without handles, oldest first. Guarded by the tree's lock.
  std::deque<InodeNumber> closed_log_cache_;
  std::mutex damage_mutex_;
  std::set<InodeNumber> reported_damage_;
};

}  // namespace mpool::names

// The tree under its lock, with the journal that brings its changes to the root MDC.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "engine/base/blocking.h"
#include "engine/tree/journal.h"
#include "engine/tree/options.h"
#include "engine/tree/space_stats.h"
#include "engine/tree/times.h"
#include "engine/tree/tree.h"

namespace mpool::names {

class Damage;
class Replay;

using TreeLock = std::unique_lock<FairMutex>;
using TreeReadLock = std::shared_lock<FairMutex>;
// The locks of every change of the tree: first the barrier, then the tree exclusively.
struct ChangeLock {
  Journal::ChangeBarrier barrier;
  TreeLock tree;
};

// Threads: the functions of Tree, and those that say so, need mutex(); the others take what they
// need.
class RecordedTree final : public Tree {
 public:
  // The references must outlive it.
  RecordedTree(References& references, const NamespaceOptions& options)
      : references_(references), pool_(references.pool()), options_(options) {}

  // Reads the records, repairs the end of the log and starts the journal, except where nothing may
  // be written. The snapshot, the next inode, the footprint and the first batch are the tree's own.
  void load(Journal::Owner owner);
  // Writes the queued changes; nothing can be changed afterwards.
  void end_journal() { journal_.reset(); }
  // At the end of a mount: one record, made durable by itself.
  void append_last(const Record& record) { mdc_->sync(mdc_->append(encode(record))); }
  // `padding`: bytes by which the record is made longer, so that the log before it and after it is
  // on different pages. Omitted where the log is nearly full.
  void record_mdc_ends(std::uint32_t padding);

  bool foreign() const { return foreign_; }
  bool owns(ObjectId object) const { return !foreign_ && !program_objects_.contains(object); }
  Pool& pool() const { return pool_; }
  const NamespaceOptions& options() const { return options_; }
  References& references() const { return references_; }
  // False when nothing may be written: there is no journal.
  bool is_writable() const { return journal_ != nullptr; }
  Journal& journal() { return *journal_; }
  const Journal& journal() const { return *journal_; }
  FairMutex& mutex() const { return mutex_; }
  // The time of a change that is made now.
  Nanoseconds now() const { return to_nanoseconds(pool_.clock().wall_time()); }

  void check_writable() const;
  // Throws EIO after a device failed for writing.
  void check_online() const;
  // As Journal::make_room().
  ChangeLock begin_change(std::size_t record_size, RoomFor room_for, std::size_t counted = 0);
  // nullopt: this call or finish() would block.
  std::optional<ChangeLock> begin_change(std::size_t record_size, RoomFor room_for,
                                         Blocking blocking, std::size_t counted = 0);
  ChangeLock lock_for_change();
  Journal::Ticket record_only(const Record& record, Journal::Placeholder* placeholder = nullptr);
  Journal::Ticket record_attributes(const Inode& inode,
                                    Journal::Placeholder* placeholder = nullptr);
  // Queues the record of a change of the inode, unless the inode is not on the media, with the
  // objects that it leaves without a name. 0: there is neither.
  Journal::Ticket record_deletes(const Inode& inode, const Record& record,
                                 std::vector<ObjectId> deletes);
  void finish(ChangeLock& lock, Journal::Ticket ticket);
  struct MlogRecords {
    Record written;  // to the media
    Record applied;  // to the tree, which names the mlog from then on
  };
  // Brings an allocated mlog into use by the records that `make` gives with the locks of a change;
  // durable on return. An mlog that could not be brought into use is aborted. May block.
  void record_mlog(const ObjectRecord& mlog, const std::function<MlogRecords()>& make);

  SpaceStats space(InodeNumber inode);
  MetadataStats metadata() const;

  // With mutex() held:
  InodeNumber find_or_none(const Inode& directory, std::string_view name) const;  // 0: absent
  InodeNumber find_name(const Inode& directory, std::string_view name) const;
  void check_new_name(const Inode& directory, std::string_view name) const;
  // The record that creates an inode, as the policy of its directory says (policy.h).
  CreateRecord new_inode(const Inode& parent, std::string_view name, FileKind kind,
                         std::uint32_t mode, mpool::Owner owner);

 private:
  std::uint64_t files_with_room(std::uint64_t files) const;

  // load.cpp
  std::optional<std::size_t> replay_log(Replay& replay, Damage& damage);
  void check_content(Damage& damage);
  void find_program_objects(const Replay& replay);
  void take_possession();
  std::vector<std::vector<std::byte>> snapshot_records();

  References& references_;
  Pool& pool_;
  const NamespaceOptions options_;
  bool foreign_ = false;
  std::unordered_set<ObjectId> program_objects_;  // not changed after load()
  mutable FairMutex mutex_;
  std::unique_ptr<Mdc> mdc_;
  std::unique_ptr<RootLog> root_log_;
  std::unique_ptr<Journal> journal_;
};

// The purpose of room for names that a user creates.
inline RoomFor room_for_names(mpool::Owner owner) {
  return owner.uid == 0 ? RoomFor::root_names : RoomFor::names;
}

// Throws the error that refuses a call with `name`.
[[noreturn]] void refuse(int code, std::string_view name, std::string_view why);
[[noreturn]] void refuse_inode(int code, InodeNumber inode, std::string_view why);
[[noreturn]] void refuse_absent(std::string_view name);  // ENOENT

// The maximum number of extents of an inode that a non-blocking thread destroys.
inline constexpr std::size_t kMaxExtentsAtOnce = 1024;

// Bytes: room for any record without extents, of names, attributes and one short string.
inline constexpr std::size_t kSmallRecord = 1024;

}  // namespace mpool::names

// The implementation of Namespace. Its parts: namespace.cpp (the tree), load.cpp (reading it from
// the media), references.cpp (how long inodes live), files.cpp (open files), closes.cpp and
// commits.cpp (write-once files on their way to the journal), logs.cpp (append-only files),
// dirty_logs.h (appends that are not durable), xattrs.cpp (extended attributes and policy),
// space.cpp (what there is room for).
//
// Lock order: ActiveInode::persist_mutex or append_mutex, content_lock or log_lock, the journal's
// change barrier (shared), tree_mutex_, then leaves (Journal's own, pending_mutex_, DirtyLogs',
// damage_mutex_, callback_mutex_, CommitPlaceholder's). catch_up_mutex_ is taken with the journal's
// barrier, or with no other lock. Nothing waits for the device under tree_mutex_, and nothing for
// the journal under it or the barrier. The journal's thread takes none of the locks before the
// barrier.
//
// What never waits for the device (all that is told so, plan_read, start_write, end_write) takes of
// these only tree_mutex_ and the leaves, tries content_lock, log_lock, append_mutex and the
// barrier, and takes the locks of ContentWriter and MblockWriter, which are not held during I/O
// either.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/names/active_inode.h"
#include "engine/names/dirty_logs.h"
#include "engine/names/journal.h"
#include "engine/names/names.h"
#include "engine/names/times.h"
#include "engine/names/tree.h"

namespace mpool::names {

class Damage;
class Replay;

class NamespaceImpl final : public Namespace {
 public:
  NamespaceImpl(Pool& pool, const NamespaceOptions& options);
  ~NamespaceImpl() override;

  bool foreign() const override { return foreign_; }

  using Namespace::attributes;
  using Namespace::create;
  using Namespace::lookup;
  using Namespace::open;
  using Namespace::remove_directory;
  using Namespace::unlink;
  using Namespace::unref;
  LookupAnswer lookup(InodeNumber parent, std::string_view name, LookupReference reference,
                      Blocking blocking) override;
  std::optional<Attributes> attributes(InodeNumber inode, Blocking blocking) override;
  Attributes set_attributes(InodeNumber inode, const AttributeChange& change) override;
  void ref(std::span<InodeNumber> inodes) override;
  bool unref(std::span<const InodeReferences> references, Blocking blocking) override;
  Attributes make_directory(InodeNumber parent, std::string_view name, std::uint32_t mode,
                            mpool::Owner owner) override;
  Attributes make_symlink(InodeNumber parent, std::string_view name, std::string_view target,
                          mpool::Owner owner) override;
  std::string read_symlink(InodeNumber inode) override;
  std::optional<Created> create(InodeNumber parent, std::string_view name, std::uint32_t mode,
                                mpool::Owner owner, const OpenIntent& intent,
                                Blocking blocking) override;
  Attributes make_file(InodeNumber parent, std::string_view name, std::uint32_t mode,
                       mpool::Owner owner) override;
  Attributes make_special(InodeNumber parent, std::string_view name, FileKind kind,
                          std::uint32_t mode, mpool::Owner owner, std::uint64_t device) override;
  Attributes link(InodeNumber inode, InodeNumber parent, std::string_view name) override;
  bool unlink(InodeNumber parent, std::string_view name, Blocking blocking) override;
  bool remove_directory(InodeNumber parent, std::string_view name, Blocking blocking) override;
  void rename(InodeNumber parent, std::string_view name, InodeNumber new_parent,
              std::string_view new_name, RenameMode mode) override;
  void read_directory(InodeNumber directory, std::uint64_t cookie,
                      const std::function<bool(const DirectoryEntry&)>& take) override;
  InodeNumber parent_of(InodeNumber directory) override;
  std::unique_ptr<OpenFile> open(InodeNumber inode, const OpenIntent& intent,
                                 Blocking blocking) override;
  Attributes truncate(InodeNumber inode, std::uint64_t size) override;
  std::string get_xattr(InodeNumber inode, std::string_view name) override;
  std::vector<std::string> list_xattrs(InodeNumber inode) override;
  void set_xattr(InodeNumber inode, std::string_view name, std::string_view value,
                 int flags) override;
  void remove_xattr(InodeNumber inode, std::string_view name) override;
  SpaceStats space(InodeNumber inode) override;
  MetadataStats metadata() const override;
  std::optional<FileLayout> layout(InodeNumber inode) override;
  std::vector<InodeNumber> committed_files() override;
  void hold_deletes(bool hold) override;
  void sync() override;
  Losses losses() const override;
  void on_create_failed(CreateFailed callback) override;
  void on_committed(Committed callback) override;
  void on_durable(Durable callback) override;
  void on_removed(Removed callback) override;
  void on_no_room(std::function<void()> callback) override;
  void on_catch_up(std::function<void()> callback) override;

  // --- for open files (files.cpp) ---
  using State = std::shared_ptr<ActiveInode>;

  std::size_t read_content(InodeNumber inode, ActiveInode& state, std::uint64_t offset,
                           ByteSpan into);
  bool plan_content(InodeNumber inode, ActiveInode& state, std::uint64_t offset, std::size_t length,
                    ByteSpan memory, ReadPlan& plan);
  // Writes everything so far to the device and records it; `last`: the file is complete. Returns
  // when the record is queued; the ticket is for Journal::wait.
  Journal::Ticket persist(InodeNumber inode, ActiveInode& state, bool last);
  void fsync_content(InodeNumber inode, ActiveInode& state);
  // Discards the written content, also the durable part.
  void discard_content(InodeNumber inode, ActiveInode& state);
  // The time of a change that is made now.
  Nanoseconds now() const { return to_nanoseconds(pool_.clock().wall_time()); }
  // As OpenFile::truncate of a write-once file.
  void truncate_content(InodeNumber inode, ActiveInode& state, std::uint64_t size);
  // Throws the pending errors of a file being written, for close() and flush().
  void check_sticky_error(ActiveInode& state);
  // As check_sticky_error(), but non-blocking; false where the state is unknown at the moment.
  bool try_check_sticky_error(ActiveInode& state);
  // fsync of a read-only handle: changes of the file by other handles are durable on return.
  void sync_others(InodeNumber inode, ActiveInode& state);
  // A descriptor of the file was closed: its commit, if it follows, comes here in the order of
  // changes.
  void add_placeholder(ActiveInode& state);
  // The content or the inode changes after all.
  void withdraw_placeholder(ActiveInode& state);
  // The rest of the work for a handle that is being closed; file: the commit.
  enum class Closing : std::uint8_t { handle, log, file };
  // Non-blocking: from here on other calls wait for the commit. end_close() must follow.
  Closing begin_close(ActiveInode& state, bool writer) noexcept;
  void end_close(InodeNumber inode, const State& state, Closing closing) noexcept;
  // Begin and end at once, non-blocking; they return false and do nothing if closing would block.
  bool try_close_reader(InodeNumber inode, const State& state) noexcept;
  bool try_close_writer(InodeNumber inode, const State& state) noexcept;
  FileKind kind_of(InodeNumber inode);
  bool sync_always() const { return options_.sync; }
  // Deferred writes will find room (Device::room_is_certain of all devices).
  bool room_is_certain() const;
  // Throws EIO after a device failed for writing.
  void check_online() const;

  std::size_t read_log(InodeNumber inode, ActiveInode& state, std::uint64_t offset, ByteSpan into);
  void append_log(InodeNumber inode, const State& state, std::optional<std::uint64_t> offset,
                  ConstByteSpan data);
  void erase_log(InodeNumber inode, ActiveInode& state);
  void sync_log(InodeNumber inode, ActiveInode& state);

 private:
  using TreeLock = std::unique_lock<FairMutex>;
  using TreeReadLock = std::shared_lock<FairMutex>;
  using LogReadLock = std::shared_lock<FairMutex>;
  // The locks of every change of the tree: first the barrier, then the tree exclusively.
  struct ChangeLock {
    Journal::ChangeBarrier barrier;
    TreeLock tree;
  };

  // namespace.cpp
  void check_writable() const;
  // As Journal::make_room().
  ChangeLock begin_change(std::size_t record_size, RoomFor room_for, std::size_t counted = 0);
  // nullopt: this call or finish() would block.
  std::optional<ChangeLock> begin_change(std::size_t record_size, RoomFor room_for,
                                         Blocking blocking, std::size_t counted = 0);
  // The purpose of room for names that a user creates.
  static RoomFor room_for_names(mpool::Owner owner);
  std::uint64_t files_with_room(std::uint64_t files) const;
  ChangeLock lock_for_change();
  // Applies a record to the tree and queues it; destroys the inode that lost its last name.
  Journal::Ticket change(const Record& record);
  // The same for a change of the inode itself; records nothing for an inode that is not on the
  // media.
  Journal::Ticket change_if_on_media(const Inode& inode, const Record& record);
  Journal::Ticket record_only(const Record& record, Journal::Placeholder* placeholder = nullptr);
  Journal::Ticket record_attributes(const Inode& inode,
                                    Journal::Placeholder* placeholder = nullptr);
  void finish(ChangeLock& lock, Journal::Ticket ticket);

  // lookup.cpp
  Attributes describe(const Inode& inode) const;
  LookupAnswer look_up_once(InodeNumber parent, std::string_view name, LookupReference reference);
  bool try_set_log_size(const Inode& inode, Attributes& attributes) const;
  Attributes with_log_size(Attributes attributes);
  InodeNumber find_or_none(const Inode& directory, std::string_view name) const;  // 0: absent
  InodeNumber find_name(const Inode& directory, std::string_view name) const;
  void check_new_name(const Inode& directory, std::string_view name) const;

  // name_changes.cpp
  // Find the inode that unlink() and remove_directory() remove; throw their errors.
  Inode& file_to_remove(InodeNumber parent, std::string_view name);
  Inode& directory_to_remove(InodeNumber parent, std::string_view name);
  Attributes make_without_content(InodeNumber parent, std::string_view name, FileKind kind,
                                  std::uint32_t mode, mpool::Owner owner, std::uint64_t device);
  CreateRecord new_inode(Inode& parent, std::string_view name, FileKind kind, std::uint32_t mode,
                         mpool::Owner owner);
  Journal::Ticket inherit_policy(InodeNumber inode, const Inode& parent, Journal::Ticket ticket);
  void check_link(InodeNumber inode, InodeNumber parent, std::string_view name);
  void check_rename(const Inode& inode, const Inode* target, InodeNumber new_parent,
                    RenameMode mode);
  // Returns an inode that must be recorded first; 0: renamed.
  InodeNumber try_rename(InodeNumber parent, std::string_view name, InodeNumber new_parent,
                         std::string_view new_name, RenameMode mode);
  Journal::Ticket rename_recorded(const RenameRecord& record, Inode* target);
  Journal::Ticket rename_pending(const RenameRecord& record, Inode& inode, Inode* target);

  // references.cpp
  // Keeping inodes: pin_inode() before a step that may remove the last name, unpin_inode() after
  // it.
  State pin_inode(Inode& inode);
  void unpin_inode(InodeNumber inode);
  void destroy_inode(Inode& inode);
  // The inode has neither a name nor an open file: destroys it unless it has references.
  void destroy_unless_referenced(Inode& inode);
  void drop_references(std::span<const InodeReferences> references);
  bool may_destroy_slowly(const InodeReferences& references);
  // Destroys content that only references keep.
  void destroy_unnamed();

  // An inode that is not recorded leaves its name: removes the inode it displaced from the media,
  // too.
  Journal::Ticket release_displaced(Inode& inode, bool recorded_by_caller);

  // load.cpp
  void load();
  std::optional<std::size_t> replay_log(Replay& replay, Damage& damage);
  void check_tree(Damage& damage);
  void record_mdc_ends(std::uint32_t padding);
  void take_possession();
  std::vector<std::vector<std::byte>> snapshot();

  // files.cpp
  std::unique_ptr<OpenFile> try_open_reader(InodeNumber inode);
  std::unique_ptr<OpenFile> open_locked(Inode& inode, const OpenIntent& intent,
                                        Journal::Ticket& ticket);
  Created create_locked(ChangeLock& lock, InodeNumber parent, std::string_view name,
                        std::uint32_t mode, mpool::Owner owner, const OpenIntent& intent);
  std::shared_ptr<ContentWriter> make_writer(MediaClass media_class);
  std::unique_ptr<MblockWriter> allocate_mblock(MediaClass media_class,
                                                std::optional<std::uint64_t> near);
  ObjectRecord allocate_mlog(MediaClass media_class);
  template <typename Allocate>
  auto with_room(Allocate allocate);

  // content_reads.cpp
  std::optional<ObjectRecord> find_object(ObjectId id);
  // Called with the tree's lock. The parts of a committed file that are in memory only; and whether
  // the file is committed without such parts.
  std::vector<std::shared_ptr<DeferredWrite>> deferred_writes_of(const Inode& inode);
  bool is_on_device(const Inode& inode);
  std::unique_ptr<const ReadMap> make_read_map(const Inode& inode);
  ReadMap::Piece make_piece(const Extent& extent, const ObjectRecord& mblock) const;
  // The map of a file that can no longer change; null for other files. First writes out content
  // that is in memory only.
  const ReadMap* need_read_map(InodeNumber inode, ActiveInode& state);
  std::size_t read_mapped(const ReadMap& map, std::uint64_t offset, ByteSpan into) const;

  // closes.cpp
  void catch_up();
  // Called before a change of the inode: if close(2) of its last writing descriptor has returned
  // before this call, the commit is over. Never waits for a close that may come.
  void wait_for_release(InodeNumber inode);
  void wait_for_release(InodeNumber parent, std::string_view name);
  void wait_for_commit(InodeNumber inode);
  void commit_closed(InodeNumber inode, const State& state) noexcept;
  bool try_commit(InodeNumber inode, const State& state, Journal::Ticket& ticket);
  bool roll_back_create(InodeNumber inode, const ActiveInode& state);
  void unpin_inode_or_log(InodeNumber inode) noexcept;
  template <typename Step>
  void attempt_close(InodeNumber inode, const Step& step) noexcept;

  // commits.cpp
  class PlaceholderScope;
  PlaceholderScope placeholder_of_commit(const Inode& inode, ActiveInode& state);
  Journal::Ticket record_pending(Inode& inode, Change change, Journal::Placeholder* placeholder);
  Journal::Ticket record_nameless(Change change);
  Journal::Ticket record_sealed(InodeNumber inode, ActiveInode& state,
                                ContentWriter::Sealed sealed);
  // The same with the locks of a change held.
  Journal::Ticket record_sealed_locked(Inode& inode, ActiveInode& state,
                                       ContentWriter::Sealed sealed);
  void record_early(InodeNumber inode);
  void trim_recorded(InodeNumber inode, std::uint64_t size);
  void notify_committed(InodeNumber inode);
  ChangeLock begin_recording(InodeNumber inode, std::size_t extents);
  std::size_t pending_size(InodeNumber inode);
  void note_committed(InodeNumber inode, Journal::Ticket ticket);
  void notify_durable(Journal::Ticket last);

  // xattrs.cpp
  Journal::Ticket change_xattr(Inode& inode, XattrRecord record);
  static void check_xattr_room(const Inode& inode, std::string_view name, std::size_t value_size);

  // logs.cpp
  LogReadLock need_log(InodeNumber inode, ActiveInode& state);
  void open_log(InodeNumber inode, ActiveInode& state);
  void report_damage(InodeNumber inode, const Log& log);
  ObjectRecord add_mlog(InodeNumber inode, std::uint64_t size);
  std::uint64_t log_size(InodeNumber inode);
  void cache_closed_log(Inode& inode);
  bool is_size_recorded(const Inode& inode) const;
  void record_log_size(Inode& inode);
  void record_open_log_sizes();
  void forget_log_size(InodeNumber inode);
  void mark_log_sizes();
  void record_log_times(InodeNumber inode, ActiveInode& state);
  // Closes a log, which unpins its mlogs. The caller holds log_lock, or destroys the inode.
  void drop_log(InodeNumber inode, ActiveInode& state);
  void trim_closed_log_cache();
  void close_clean_logs();

  Pool& pool_;
  const NamespaceOptions options_;
  bool foreign_ = false;
  std::unique_ptr<Mdc> mdc_;
  std::unique_ptr<RootLog> root_log_;
  std::unique_ptr<Journal> journal_;  // absent when nothing may be written

  mutable FairMutex tree_mutex_;
  Tree tree_;
  // Inodes without a name or an open file: kept by references alone, or about to be opened or
  // destroyed.
  std::unordered_set<InodeNumber> unnamed_;
  // used with tree_mutex_: a commit ended
  std::condition_variable_any commits_;
  std::deque<InodeNumber> closed_log_cache_;  // open logs without handles, oldest first

  std::mutex pending_mutex_;
  // Recorded, not committed yet. `deferred`: pages that may be in memory only; null: none.
  struct PendingObject {
    ObjectRecord record;
    std::shared_ptr<DeferredWrite> deferred;
  };
  std::unordered_map<ObjectId, PendingObject> pending_objects_;

  // The number of files whose commit failed with a device.
  std::atomic<std::uint64_t> lost_files_ = 0;

  DirtyLogs dirty_logs_;

  std::mutex damage_mutex_;  // a leaf
  std::set<InodeNumber> reported_damage_;

  std::mutex callback_mutex_;
  CreateFailed create_failed_;
  Committed committed_;
  Durable durable_;
  Removed removed_;
  std::function<void()> no_room_;
  std::mutex catch_up_mutex_;  // held during the call, which may block
  std::function<void()> catch_up_;
  // Committed files whose last change may not be durable yet.
  std::vector<std::pair<Journal::Ticket, InodeNumber>> not_durable_;
};

// True if a handle is open for writing a write-once file, or its commit is in progress. Called with
// the tree's lock, as are the next functions.
inline bool is_being_written(const Inode& inode) {
  return inode.open && inode.open->writer;
}
// True if the last writing handle was closed and the commit is in progress.
inline bool is_committing(const Inode& inode) {
  return inode.open && inode.open->committing;
}
// True for a write-once file whose content can no longer change.
inline bool is_committed(const Inode& inode) {
  return inode.kind == FileKind::write_once && !is_being_written(inode);
}

// Throws the error that refuses a call with `name`.
[[noreturn]] void refuse(int code, std::string_view name, std::string_view why);
[[noreturn]] void refuse_inode(int code, InodeNumber inode, std::string_view why);

// The maximum number of extents of an inode that a non-blocking thread destroys.
inline constexpr std::size_t kMaxExtentsAtOnce = 1024;

// Bytes: room for any record without extents, of names, attributes and one short string.
inline constexpr std::size_t kSmallRecord = 1024;

inline constexpr std::string_view kClassXattr = "user.mpool.class";
inline constexpr std::string_view kCreateXattr = "user.mpool.create";
inline constexpr std::size_t kMaxRulesSize = 4096;  // bytes of a value of kCreateXattr

// What the rules say of a name: the first that matches decides (engine/names/README.md, "Policy of
// directories").
Choice choose(std::string_view rules, std::string_view name);

}  // namespace mpool::names

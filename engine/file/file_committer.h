// Write-once files on their way from the last close to the media (engine/file/README.md, "Commit";
// engine/tree/README.md, "Order of changes").
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/file/active_inode.h"
#include "engine/file/active_inodes.h"
#include "engine/file/events.h"
#include "engine/file/log_files.h"
#include "engine/file/packs.h"
#include "engine/tree/recorded_tree.h"

namespace mpool::names {

// Threads: all functions may be called at the same time; those with an Inode need the tree's lock.
// pending_mutex_ is a leaf.
class FileCommitter {
 public:
  FileCommitter(RecordedTree& tree, LogFiles& logs, ActiveInodes& inodes, Packs& packs,
                Events& events)
      : tree_(tree),
        pool_(tree.pool()),
        logs_(logs),
        inodes_(inodes),
        packs_(packs),
        events_(events) {}

  // Makes what was written so far, and its name, durable.
  void fsync(InodeNumber inode, ActiveInode& state);
  // As OpenFile::truncate of a write-once file.
  void truncate(InodeNumber inode, ActiveInode& state, std::uint64_t size);
  // Throws the pending errors of a file being written, for close() and flush().
  void check_sticky_error(ActiveInode& state);
  // As check_sticky_error(), but non-blocking; false where the state is unknown at the moment.
  bool try_check_sticky_error(ActiveInode& state);
  // A second name, or an exchange, requires inodes that are on the media: one that is being written
  // is recorded with the content written so far, as by fsync.
  void record_early(InodeNumber inode);
  // Takes the name back from a file that was given its first one and could not be recorded.
  void undo_first_name(InodeNumber inode);

  // A descriptor of the file was closed: its commit, if it follows, comes here in the order of
  // changes.
  void add_placeholder(ActiveInode& state);
  // The rest of the work for a handle that is being closed; file: the commit.
  enum class Closing : std::uint8_t { handle, log, file };
  // Non-blocking: from here on other calls wait for the commit. end_close() must follow.
  Closing begin_close(ActiveInode& state, bool writer) noexcept;
  void end_close(InodeNumber inode, const State& state, Closing closing,
                 FileHolder holder) noexcept;
  // Begin and end at once, non-blocking; they return false and do nothing if closing would block.
  bool try_close_reader(InodeNumber inode, const State& state, FileHolder holder) noexcept;
  bool try_close_writer(InodeNumber inode, const State& state) noexcept;

  // Called before a change of the inode: if close(2) of its last writing descriptor has returned
  // before this call, the commit is over. Never waits for a close that may come.
  void wait_for_release(InodeNumber inode);
  void wait_for_release(InodeNumber parent, std::string_view name);
  void wait_for_commit(InodeNumber inode);

  // An object of a recorded file: committed, or being committed.
  std::optional<ObjectRecord> find_object(ObjectId id);
  // The parts of a committed file that are in memory only; and whether the file is committed
  // without such parts.
  std::vector<std::shared_ptr<DeferredWrite>> deferred_writes_of(const Inode& inode);
  bool is_on_device(const Inode& inode);

  // For the journal: see Journal::Owner.
  void note_objects_committed(std::span<const ObjectRecord> objects);
  void notify_durable(Journal::Ticket last);

  // The number of files whose commit failed with a device.
  std::uint64_t lost_files() const { return lost_files_; }

 private:
  class PlaceholderScope;
  PlaceholderScope placeholder_of_commit(const Inode& inode, ActiveInode& state);
  // Writes everything so far to the device and records it; `last`: the file is complete. Returns
  // when the record is queued; the ticket is for Journal::wait.
  Journal::Ticket persist(InodeNumber inode, ActiveInode& state, bool last);
  Journal::Ticket record_pending(Inode& inode, Change change, Journal::Placeholder* placeholder);
  Journal::Ticket record_nameless(Change change);
  bool is_nameless_pending(InodeNumber inode);
  Journal::Ticket record_sealed(InodeNumber inode, ActiveInode& state,
                                ContentWriter::Sealed sealed);
  // The same with the locks of a change held.
  Journal::Ticket record_sealed_locked(Inode& inode, ActiveInode& state,
                                       ContentWriter::Sealed sealed);
  ChangeLock begin_recording(InodeNumber inode, std::size_t extents);
  std::size_t pending_size(InodeNumber inode);
  // Discards the written content, also the durable part.
  void discard(InodeNumber inode, ActiveInode& state);
  void trim_recorded(InodeNumber inode, std::uint64_t size);

  void commit_closed(InodeNumber inode, const State& state) noexcept;
  bool try_commit(InodeNumber inode, const State& state, std::optional<Journal::Ticket>& ticket);
  bool roll_back_create(InodeNumber inode, const ActiveInode& state);
  void note_committed(InodeNumber inode, Journal::Ticket ticket);

  RecordedTree& tree_;
  Pool& pool_;
  LogFiles& logs_;
  ActiveInodes& inodes_;
  Packs& packs_;
  Events& events_;

  // used with the tree's lock: a commit ended
  std::condition_variable_any commits_;
  std::atomic<std::uint64_t> lost_files_ = 0;

  std::mutex pending_mutex_;
  // Recorded, not committed yet. `deferred`: pages that may be in memory only; null: none.
  struct PendingObject {
    ObjectRecord record;
    std::shared_ptr<DeferredWrite> deferred;
  };
  std::unordered_map<ObjectId, PendingObject> pending_objects_;
  // Committed files whose last change may not be durable yet.
  std::vector<std::pair<Journal::Ticket, InodeNumber>> not_durable_;
};

}  // namespace mpool::names

// The in-memory state of an inode while it is open.
#pragma once

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engine/object/content_writer.h"
#include "engine/object/log.h"
#include "engine/refs/file_holders.h"
#include "engine/tree/attributes.h"
#include "engine/tree/change_queue.h"
#include "engine/tree/fair_mutex.h"
#include "engine/tree/records.h"
#include "engine/tree/tree.h"

namespace mpool::names {

// Content of a file in a pack, which stays while this object lives. Thread-safe.
class PackedContent {
 public:
  // `pack`: in case the record is in its memory; null: it is not.
  PackedContent(References& references, ObjectId object, const MlogLocation& log,
                PackedRecord record, std::shared_ptr<Pack> pack)
      : hold_(references, ObjectHolder::pack_reader, object),
        log_(log),
        record_(record),
        pack_(std::move(pack)) {}

  // Bytes [offset, offset + into.size()) of the record. Errors: read_packed().
  void read(std::uint64_t offset, ByteSpan into) const {
    if (pack_) return pack_->read(record_, offset, into);
    read_packed(log_, record_, offset, into);
  }

 private:
  const References::Hold hold_;
  const MlogLocation log_;
  const PackedRecord record_;
  const std::shared_ptr<Pack> pack_;
};

// The committed content of a write-once file with its objects looked up: readers need no other
// state.
struct ReadMap {
  struct Piece {
    std::uint64_t file_offset = 0;
    std::uint64_t length = 0;
    std::uint64_t position = 0;  // in the mblock
    ObjectRecord mblock;
    // The device of its first byte. Null: its class is missing, or it does not lie inside the
    // mblock.
    Device* device = nullptr;
    std::uint64_t device_offset = 0;
    // A record of a pack, instead of a part of an mblock: `device` is null.
    std::shared_ptr<const PackedContent> packed = nullptr;
  };
  std::uint64_t size = 0;
  std::vector<Piece> pieces;  // in order of file_offset, not overlapping

  // The first piece that may hold bytes at or after `offset`.
  std::vector<Piece>::const_iterator first_at(std::uint64_t offset) const {
    const auto next = std::ranges::upper_bound(pieces, offset, {}, &Piece::file_offset);
    return next == pieces.begin() ? next : std::prev(next);
  }
};

// The placeholder of a file's commit in the order of changes. Threads: all functions may be called
// at the same time.
class CommitPlaceholder {
 public:
  bool is_set() const { return set_.load(std::memory_order_relaxed); }
  ChangeQueue::SharedPlaceholder get() const {
    const std::lock_guard lock(mutex_);
    return placeholder_;
  }
  // Returns the previous one.
  ChangeQueue::SharedPlaceholder exchange(ChangeQueue::SharedPlaceholder next) {
    if (!next && !is_set()) return nullptr;
    const std::lock_guard lock(mutex_);
    set_ = next != nullptr;
    return std::exchange(placeholder_, std::move(next));
  }

 private:
  mutable std::mutex mutex_;  // a leaf
  ChangeQueue::SharedPlaceholder placeholder_;
  std::atomic<bool> set_ = false;
};

// What happens to the content of a write-once file.
enum class Writing : std::uint8_t {
  none,        // nothing
  open,        // a writing handle is open
  committing,  // the last writing handle was closed
  dropping,    // the same, of a file that has neither a name nor a reader: it is not recorded
  dropped,     // content was lost with the last name: references of the kernel keep nothing
};
constexpr bool can_follow(Writing before, Writing next) {
  switch (next) {
    case Writing::open:  // committing: the commit failed, and a blocking close tries again
      return before == Writing::none || before == Writing::dropped || before == Writing::committing;
    case Writing::committing:
      return before == Writing::open;
    case Writing::none:
    case Writing::dropping:
      return before == Writing::committing;
    case Writing::dropped:
      return before == Writing::committing || before == Writing::dropping;
  }
  return false;
}

// Shared by the handles of one inode. Members without another comment are guarded by the tree's
// lock. Lock order: head of engine/names/namespace_impl.h.
class ActiveInode {
 public:
  FileHolders holders;
  unsigned writers = 0;  // open files that may write

  // A write-once file that is being written: set until its commit is done, and while a writing
  // handle is open. Writing handles get it from current_writer(), without the tree's lock.
  std::shared_ptr<ContentWriter> writer;
  mutable std::mutex writer_mutex;  // a leaf; changing `writer` also needs the tree's lock
  std::shared_ptr<ContentWriter> current_writer() const {
    const std::lock_guard lock(writer_mutex);
    return writer;
  }
  // Returns the previous writer.
  std::shared_ptr<ContentWriter> set_writer(std::shared_ptr<ContentWriter> next) {
    const std::lock_guard lock(writer_mutex);
    return std::exchange(writer, std::move(next));
  }
  Writing writing() const { return writing_; }
  bool is_committing() const {
    return writing_ == Writing::committing || writing_ == Writing::dropping;
  }
  void enter(Writing next) {
    assert(can_follow(writing_, next));
    writing_ = next;
  }
  // Set from the close of a descriptor of the only writing handle on, until the commit, another
  // write or a change of the inode.
  CommitPlaceholder placeholder;
  bool times_set = false;  // an explicit mtime was set: the commit does not change it
  // Time of the last write, truncation or extension; 0: none.
  std::atomic<Nanoseconds> content_written_at = 0;
  // One thread at a time brings written content into the journal. Taken before the barrier.
  std::mutex persist_mutex;
  // Sticky error: written content was lost because it could not be recorded. Returned by every
  // later fsync and close of the file. Guarded by persist_mutex.
  std::exception_ptr sticky_error;
  // Held shared to read uncommitted content. Held exclusively to release written mblocks:
  // discarding, truncating, and a seal until its mblocks are recorded. Taken after persist_mutex
  // and before the barrier.
  FairMutex content_lock;
  std::mutex append_mutex;  // orders writes at the end; taken with no other lock held

  // The name of an inode that is not recorded.
  InodeNumber parent = 0;
  std::string name;

  // Made by the first reader of a committed file when all of the content, which never changes, is
  // on the device. Set once, with the tree's lock; read without it.
  const ReadMap* read_map() const { return read_map_ready_.load(std::memory_order_acquire); }
  const ReadMap& set_read_map(std::unique_ptr<const ReadMap> map) {
    read_map_ = std::move(map);
    read_map_ready_.store(read_map_.get(), std::memory_order_release);
    return *read_map_;
  }

  // The log: opened by the first thread that needs it. Reading, appending and syncing hold log_lock
  // shared; opening and emptying hold it exclusively. Taken before the journal's change barrier and
  // the tree's lock. A thread that takes log_lock must hold the inode (ActiveInodes::pin):
  // the last unpin() may destroy the log without taking it.
  FairMutex log_lock;
  std::shared_ptr<Log> log;  // guarded by log_lock; shared with DirtyLogs
  // time of the last append not yet in the inode; 0: none
  std::atomic<Nanoseconds> log_written_at = 0;

 private:
  Writing writing_ = Writing::none;
  std::unique_ptr<const ReadMap> read_map_;
  std::atomic<const ReadMap*> read_map_ready_ = nullptr;
};

// True if a handle is open for writing a write-once file, or its commit is in progress. Called with
// the tree's lock, as are the next functions.
inline bool is_being_written(const Inode& inode) {
  return inode.open && inode.open->writing() != Writing::none &&
         inode.open->writing() != Writing::dropped;
}
// True if the last writing handle was closed and the commit is in progress.
inline bool is_committing(const Inode& inode) {
  return inode.open && inode.open->is_committing();
}
// True for a write-once file whose content can no longer change.
inline bool is_committed(const Inode& inode) {
  return inode.kind == FileKind::write_once && !is_being_written(inode);
}

}  // namespace mpool::names

// What an inode has in memory while somebody has it open.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <ctime>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engine/names/fair_mutex.h"
#include "engine/names/names.h"
#include "engine/names/records.h"
#include "engine/object/content_writer.h"
#include "engine/object/log.h"

namespace mpool::names {

// The committed content of a write-once file with its objects looked up: readers need nothing else.
struct ReadMap {
  struct Piece {
    std::uint64_t file_offset = 0;
    std::uint64_t length = 0;
    std::uint64_t position = 0;  // in the mblock
    ObjectRecord mblock;
    // Where its first byte lies. Null: its class is missing, or it does not lie inside the mblock.
    Device* device = nullptr;
    std::uint64_t device_offset = 0;
  };
  std::uint64_t size = 0;
  std::vector<Piece> pieces;  // in order of file_offset, not overlapping

  // The first piece that may hold bytes at or behind `offset`.
  std::vector<Piece>::const_iterator first_at(std::uint64_t offset) const {
    const auto next = std::ranges::upper_bound(pieces, offset, {}, &Piece::file_offset);
    return next == pieces.begin() ? next : std::prev(next);
  }
};

// Shared by the handles of one inode. What no comment says otherwise is guarded by the tree's lock.
class OpenState {
 public:
  unsigned handles = 0;  // open files and whatever else keeps the inode
  unsigned writers = 0;  // of them, those that may write

  // A write-once file that is being written: set until its commit is done, and while a writing
  // handle is open. Those take it by current_writer(), without the tree's lock.
  std::shared_ptr<ContentWriter> writer;
  mutable std::mutex writer_mutex;  // a leaf: with the tree's lock to change `writer`
  std::shared_ptr<ContentWriter> current_writer() const {
    const std::lock_guard lock(writer_mutex);
    return writer;
  }
  // Returns the one before.
  std::shared_ptr<ContentWriter> set_writer(std::shared_ptr<ContentWriter> next) {
    const std::lock_guard lock(writer_mutex);
    return std::exchange(writer, std::move(next));
  }
  bool committing = false;  // the last writing handle was closed
  bool times_set = false;   // somebody set the mtime: the commit leaves it
  bool given_up = false;    // content was dropped with the last name: references keep nothing
  // One at a time brings what was written into the journal. Comes before the gate.
  std::mutex persist_mutex;
  // What was written and is lost, because it could not be recorded: every fsync and close of the
  // file tells. Guarded by persist_mutex.
  std::exception_ptr lost;
  // Reading what is not committed shares it. What may give up mblocks that were written has it
  // alone: discarding, truncating, and a seal until its mblocks are recorded. Comes after
  // persist_mutex and before the gate.
  FairMutex content_lock;
  std::mutex append_mutex;  // orders writes at the end; taken with no other lock held

  // Where the name of an inode that is not recorded is.
  InodeNumber parent = 0;
  std::string name;

  // Made by the first reader of a committed file, whose content never changes, when all of it is on
  // the device: it is set once, with the tree's lock, and read without.
  const ReadMap* read_map() const { return read_map_ready_.load(std::memory_order_acquire); }
  const ReadMap& set_read_map(std::unique_ptr<const ReadMap> map) {
    read_map_ = std::move(map);
    read_map_ready_.store(read_map_.get(), std::memory_order_release);
    return *read_map_;
  }

  // A log: opened by the first who needs it. Reading, appending and syncing hold log_lock shared;
  // opening and emptying hold it alone. It comes before the journal's gate and the tree's lock. Who
  // takes it holds the inode (NamespaceImpl::hold): the last to let go may take the log away
  // without it.
  FairMutex log_lock;
  std::shared_ptr<Log> log;  // guarded by log_lock; shared with DirtyLogs
  std::atomic<Nanoseconds> log_written_at =
      0;  // time of the last append not yet in the inode; 0: none

 private:
  std::unique_ptr<const ReadMap> read_map_;
  std::atomic<const ReadMap*> read_map_ready_ = nullptr;
};

}  // namespace mpool::names

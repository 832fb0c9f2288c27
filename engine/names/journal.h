// Brings changes of the tree to the media, in order and in batches (engine/names/records.md,
// "Batches and crashes").
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <thread>
#include <unordered_set>
#include <vector>

#include "engine/names/fair_mutex.h"
#include "engine/names/records.h"
#include "engine/names/root_log.h"
#include "engine/object/log.h"
#include "engine/object/mblock.h"
#include "engine/pool/pool.h"

namespace mpool::names {

// Inode numbers promised by a BATCH record beyond the last one handed out: more than are handed out
// until the next one.
inline constexpr InodeNumber kInodeReserve = 1u << 20;

// What a BATCH record says where `next` is the next inode number.
constexpr InodeNumber promised_inode(InodeNumber next) {
  return next > kMaxInode - kInodeReserve ? kMaxInode : next + kInodeReserve;
}

// The size of a log, as a record has it. The record is left out unless these appends are durable.
struct LogSize {
  InodeNumber inode = 0;
  std::shared_ptr<const Log> log;
  std::uint64_t appends = 0;
};

// Bytes that a record takes of the log at most: 8 of descriptor for each block it touches, of 512
// with 40 of header, and its share of the mark of its batch.
constexpr std::uint64_t size_in_log(std::uint64_t record_size) {
  return record_size + record_size / 8 + 64;
}

// What a change wants room in the root MDC for. Each may fill it further than those before it.
enum class RoomFor : std::uint8_t {
  names,       // the tree gets larger
  root_names,  // the same, by root
  content,     // of files that are in the tree already
  release,     // the tree does not get larger, or gets smaller
};

// One user-visible change on its way to the media.
struct Change {
  std::vector<std::byte> record;                       // encoded; empty: only objects change
  std::vector<std::unique_ptr<MblockWriter>> mblocks;  // finished; committed with the change
  std::optional<ObjectRecord> mlog;                    // allocated; committed with the change
  std::vector<ObjectId> deletes;                       // objects that lost their last name by it
  std::unique_ptr<LogSize> log_size = nullptr;         // what the record says
};

// The queue of changes and the thread that writes them.
//
// Threads: all functions may be called at the same time. Whoever changes the tree holds a Gate
// while it changes the tree and adds the change, so that a compaction sees the tree between two
// changes.
class Journal {
 public:
  using Ticket = std::uint64_t;
  using Gate = std::shared_lock<FairMutex>;

  struct Options {
    std::chrono::milliseconds interval;
    std::uint64_t first_batch = 1;  // number of the first batch it writes
    bool hold_deletes = false;      // as hold_deletes(true)
    std::vector<ObjectId> held;     // held back from the beginning
  };
  // Calls of the owner, from the journal's thread.
  struct Owner {
    // The records of the whole tree. Called with the gate closed.
    std::function<std::vector<std::vector<std::byte>>()> snapshot;
    // These objects are committed.
    std::function<void(const std::vector<ObjectRecord>&)> committed;
    // An inode number greater than all handed out.
    std::function<InodeNumber()> next_inode;
    // Bytes that the tree takes in a compacted log, about. Must not lock.
    std::function<std::uint64_t()> footprint;
    // Hands what was appended to logs before the call to the devices: before the records of a
    // batch, and within an interval of want_log_sync().
    std::function<void()> write_logs;
    // Called after write_logs, and after these devices were flushed: makes what was written
    // durable.
    std::function<void(std::span<Device* const> flushed)> make_logs_durable;
    // A record of a log's size was left out.
    std::function<void(InodeNumber)> log_size_left_out;
    // All changes up to this one are durable, their objects committed.
    std::function<void(Journal::Ticket)> written;
  };
  // The pool and the log outlive the journal.
  Journal(Pool& pool, RootLog& log, Options options, Owner owner);
  // Writes what is queued.
  ~Journal();

  // Waits until there is room for a record of that size, compacting the MDC where that helps, and
  // growing it. To be called before open_gate(). ENOSPC when the tree fills the MDC and it cannot
  // grow, or while what was written waits for space (see wait()). EIO after a failure. `counted`:
  // bytes of it that the tree's footprint has already.
  void make_room(std::size_t record_size, RoomFor room_for, std::size_t counted = 0);
  // There is (still) room for it, and no failure. Room stays while the caller lets nobody else add
  // changes.
  bool has_room(std::size_t record_size, RoomFor room_for, std::size_t counted = 0) const;
  // Bytes by which the tree could get larger with such changes, the growth of the MDC included.
  std::uint64_t free_for(RoomFor room_for) const;
  Gate open_gate() { return Gate(gate_); }
  // The same without waiting; empty where somebody has it closed, or others come and go.
  Gate try_open_gate() { return Gate(gate_, std::try_to_lock); }

  // A log has something to make durable: it is written within the interval, and before any change
  // that is added from now on becomes durable.
  void want_log_sync();

  // Queues a change. The order of calls is the order on the media.
  Ticket add(Change change);
  // Returns when the change is durable, its objects committed and deleted; the gate must not be
  // held. EIO when it could not be written. ENOSPC when it, or one before it, found no room: it is
  // tried again with the next call, and from time to time.
  void wait(Ticket ticket);
  // The same for everything added so far.
  void wait_all();
  // The same, and logs that want to be synced were written. A log that failed does not make it
  // throw.
  void sync();
  // The last change that is durable.
  Ticket written() const;
  // After a failure: how many changes were accepted and are not durable.
  std::uint64_t lost_changes() const;

  // While deletes are held, objects that lost their names are not deleted; at the end of the hold
  // they are. Those held at the end of the journal, or when it fails, are left to the next one, by
  // what is on the media. The gate must not be held.
  void hold_deletes(bool hold);

 private:
  // How far the writing of a batch has come.
  enum class Stage : std::uint8_t { content, records, sync, objects };
  struct Batch {
    std::vector<Change> changes;
    Ticket last = 0;
    Stage stage = Stage::content;
    std::optional<Mdc::Ticket> records;  // the last one
  };
  void run();
  void work();
  bool wait_for_work(std::unique_lock<std::mutex>& lock);
  Ticket add_locked(Change change);  // under mutex_
  Batch take_batch();
  bool write(Batch& batch);
  void write_stages(Batch& batch);
  bool may_pass(const Batch& batch, const Error& error) const;
  void stall(Batch batch, const Error& error);
  void await_retry(std::unique_lock<std::mutex>& lock);
  template <typename Done>
  void wait_until(std::unique_lock<std::mutex>& lock, Done done);
  [[noreturn]] void raise_stalled() const;  // mutex_ held
  void flush_content(const Batch& batch);
  void sync_logs();
  void append_records(Batch& batch);
  void commit_objects(const Batch& batch);
  void remove_objects(const Batch& batch);
  bool hold_back(const std::vector<ObjectId>& deletes);
  std::vector<std::vector<std::byte>> snapshot();
  Mdc::Ticket append_mark();
  std::vector<std::byte> encode_mark() const;
  void compact();
  void compact_tree();
  void fail(const std::exception& error);
  // With mutex_ held.
  void check_failed() const;
  struct Need;
  bool fits(const Need& need) const;
  bool fits_tree(const Need& need) const;
  bool compaction_helps(const Need& need) const;
  bool compaction_is_due() const;
  std::uint64_t garbage() const;

  Pool& pool_;
  RootLog& log_;
  Mdc& mdc_;
  const Options options_;
  const Owner owner_;

  FairMutex gate_;
  // Guards what follows. Under it only facts of the MDC and of the space are asked for.
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable done_;
  std::deque<Change> queue_;
  std::uint64_t queued_bytes_ = 0;
  Ticket added_ = 0;    // the last change queued
  Ticket written_ = 0;  // the last change completed
  Ticket wanted_ = 0;   // somebody waits for it
  using Moment = std::optional<std::chrono::steady_clock::time_point>;
  Moment oldest_;      // when the first change in the queue came
  Moment logs_dirty_;  // when a log first wanted to be synced
  std::uint64_t compactions_wanted_ = 0, compactions_done_ = 0;
  // Rounds over the logs. One that had begun when it was asked for does not count.
  std::uint64_t log_syncs_wanted_ = 0, log_syncs_begun_ = 0, log_syncs_done_ = 0;
  std::uint64_t used_when_compacted_ = 0;  // bytes in use after the last compaction
  std::uint64_t needed_ = 0;               // bytes that the next compaction is to make room for
  std::string failure_;                    // not empty: nothing can be written any more
  // Not empty: a batch found no room, why.
  std::string stalled_;
  std::uint64_t stalls_ = 0;  // so often
  bool retry_ = false;        // it is to be tried again
  bool stopping_ = false;
  bool hold_deletes_;
  std::vector<ObjectId> held_;  // deleted as the records have it, their objects still there

  // Of the journal's thread:
  std::uint64_t batch_number_;
  std::optional<Batch> stalled_batch_;
  // Objects committed since the last BATCH record: a mount checks that they exist.
  std::unordered_set<ObjectId> last_commits_;
  // Changes that failed. Their mblocks are not given up before the end: readers may still have
  // them.
  std::vector<Batch> lost_;

  std::thread thread_;
};

}  // namespace mpool::names

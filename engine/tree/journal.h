// Brings changes of the tree to the media, in order and in batches (engine/tree/records.md,
// "Batches and crashes").
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <thread>
#include <unordered_set>
#include <vector>

#include "engine/refs/references.h"
#include "engine/tree/change_queue.h"
#include "engine/tree/fair_mutex.h"
#include "engine/tree/journal_numbers.h"
#include "engine/tree/records.h"
#include "engine/tree/root_log.h"

namespace mpool::names {

// A BATCH record promises this many inode numbers beyond the last one handed out. More than are
// handed out until the next BATCH record.
inline constexpr InodeNumber kInodeReserve = 1u << 20;

// The limit that a BATCH record states when `next` is the next inode number.
constexpr InodeNumber promised_inode(InodeNumber next) {
  return next > kMaxInode - kInodeReserve ? kMaxInode : next + kInodeReserve;
}

// An upper bound of the log bytes of a record: an 8-byte descriptor for each block it touches (512
// bytes with a 40-byte header), and its share of the mark of its batch.
constexpr std::uint64_t size_in_log(std::uint64_t record_size) {
  return record_size + record_size / 8 + 64;
}

// The purpose of the room that a change needs in the root MDC. Each may fill it further than those
// before it.
enum class RoomFor : std::uint8_t {
  names,       // the tree grows
  root_names,  // the tree grows, by a change of root
  content,     // of files that are already in the tree
  release,     // the tree stays the same size or shrinks
};

// The queue of changes and the thread that writes them.
//
// Threads: all functions may be called at the same time. A thread that changes the tree holds a
// ChangeBarrier while it changes the tree and adds the change, so that a compaction sees the tree
// between two changes.
class Journal {
 public:
  using Ticket = ChangeQueue::Ticket;
  using Placeholder = ChangeQueue::Placeholder;
  using SharedPlaceholder = ChangeQueue::SharedPlaceholder;
  using ChangeBarrier = std::shared_lock<FairMutex>;

  struct Options {
    std::chrono::milliseconds interval;
    std::uint64_t first_batch = 1;  // number of the first batch it writes
  };
  // Callbacks of the owner, on the journal's thread.
  struct Owner {
    // Returns the records of the whole tree. Called while the barrier excludes changes.
    std::function<std::vector<std::vector<std::byte>>()> snapshot = nullptr;
    // Reports that these objects are committed.
    std::function<void(const std::vector<ObjectRecord>&)> committed;
    // An inode number greater than all handed out.
    std::function<InodeNumber()> next_inode = nullptr;
    // Approximate bytes of the tree in a compacted log. Must not lock.
    std::function<std::uint64_t()> footprint = nullptr;
    // Hands everything appended to logs before the call to the devices. Called before the records
    // of a batch are written, and within an interval of want_log_sync().
    std::function<void()> write_logs;
    // Makes the written data durable. Called after write_logs and after these devices were flushed.
    std::function<void(std::span<Device* const> flushed)> make_logs_durable;
    // Returns when every request that was sent before the call has reached the tree: those for
    // which there are placeholders are expected then. May block.
    std::function<void()> catch_up;
    // Reports that a record of a log's size was omitted.
    std::function<void(InodeNumber)> log_size_left_out;
    // Reports that all changes up to this one are durable and their objects committed.
    std::function<void(Journal::Ticket)> written;
  };
  // The references and the log must outlive the journal.
  Journal(References& references, RootLog& log, Options options, Owner owner);
  // Writes the queued changes.
  ~Journal();

  // Blocks until there is room for a record of that size; compacts the MDC where that helps, and
  // grows it. While threads wait for room, batches do not wait for expected changes. Must be called
  // before enter_change(). ENOSPC when the tree fills the MDC and it cannot grow, or while a batch
  // waits for space (see wait()). EIO after a failure. `counted`: bytes of the record that the
  // tree's footprint already includes.
  void make_room(std::size_t record_size, RoomFor room_for, std::size_t counted = 0);
  // True if there is (still) room for the record and no failure. The room stays as long as the
  // caller excludes changes of other threads.
  bool has_room(std::size_t record_size, RoomFor room_for, std::size_t counted = 0) const;
  // Bytes by which such changes can grow the tree, the growth of the MDC included.
  std::uint64_t free_for(RoomFor room_for) const;
  ChangeBarrier enter_change() { return ChangeBarrier(change_barrier_); }
  // Non-blocking; returns an empty ChangeBarrier while a compaction excludes changes, and may fail
  // spuriously under contention.
  ChangeBarrier try_enter_change() { return ChangeBarrier(change_barrier_, std::try_to_lock); }

  // Requests that the logs are made durable: within the interval, and before any change that is
  // added from now on becomes durable.
  void want_log_sync();

  // Queues a change. The order of calls is the order on the media, except for changes with an open
  // placeholder: they come there. Such a change must be applicable before those that followed the
  // placeholder.
  Ticket add(Change change, Placeholder* placeholder = nullptr);

  // The position of changes that are still to come (change_queue.h). A batch with changes that
  // followed a placeholder waits for those that are expected there; a thread from which changes are
  // expected must not block except on I/O and in functions of this class. Null after a failure.
  SharedPlaceholder add_placeholder();
  void expect(Placeholder& placeholder);
  // No more changes will come.
  void close_placeholder(Placeholder& placeholder);
  // Blocks until the change is durable and its objects are committed and deleted; the barrier must
  // not be held. EIO when it could not be written. ENOSPC when this change, or one before it, found
  // no room: it is retried by the next call, and periodically.
  void wait(Ticket ticket);
  // The same for everything added so far.
  void wait_all();
  // As wait_all(), to gain room by deletions: as for make_room(), batches do not wait.
  void wait_for_room();
  // As wait_all(), and waits for the logs of want_log_sync(). A failed log does not make it throw.
  void sync();
  // The last durable change.
  Ticket written() const;
  // After a failure: the number of changes that were accepted and are not durable.
  std::uint64_t lost_changes() const;

  // References::set_deletes(); after a hold, deletes what waited for its end. Objects that still
  // wait when the journal ends or fails are left to the next mount, which finds them by the records
  // on the media. The barrier must not be held.
  void set_deletes(References::Deletes deletes);
  // Deletes what waited for a hold that has ended. The barrier must not be held.
  void delete_unheld();

 private:
  enum class Condition : std::uint8_t {
    writing,
    stalled,   // a batch found no room
    retrying,  // the same, and a caller waits for the next attempt
    failed,    // no further writing is possible
  };
  // Progress of writing a batch.
  enum class Stage : std::uint8_t { content, extensions, records, sync, objects };
  struct Batch {
    std::vector<Change> changes;
    Ticket last = 0;
    Stage stage = Stage::content;
    std::optional<Mdc::Ticket> records = {};  // of the last record
  };
  // The calling thread waits for a batch, while changes that the batch would wait for may be its
  // own. mutex_ is held at both ends.
  class WaitForRoom {
   public:
    explicit WaitForRoom(Journal& journal) : journal_(journal) {
      ++journal_.waiting_for_room_;
      journal_.work_.notify_one();
    }
    ~WaitForRoom() { --journal_.waiting_for_room_; }
    WaitForRoom(const WaitForRoom&) = delete;
    WaitForRoom& operator=(const WaitForRoom&) = delete;

   private:
    Journal& journal_;
  };
  void run();
  void work();
  bool wait_for_work(std::unique_lock<std::mutex>& lock);
  void note_added();  // mutex_ held
  void queue_deletes();
  Ticket ask_for_expected();
  bool must_wait_for_expected(Ticket last) const;  // mutex_ held
  void wait_for_expected(std::unique_lock<std::mutex>& lock, Ticket last);
  Batch take_batch(Ticket limit);
  bool write(Batch& batch);
  void write_stages(Batch& batch);
  bool may_pass(const Batch& batch, const Error& error) const;
  void stall(Batch batch, const Error& error);
  // With mutex_ held:
  void enter(Condition next);
  bool is_stalled() const {
    return condition_ == Condition::stalled || condition_ == Condition::retrying;
  }
  bool has_failed() const { return condition_ == Condition::failed; }
  void request_retry();
  void await_retry(std::unique_lock<std::mutex>& lock);
  void keep_failed(std::span<const Change> changes);
  void wait_locked(std::unique_lock<std::mutex>& lock, Ticket ticket);
  template <typename Done>
  void wait_until(std::unique_lock<std::mutex>& lock, Done done);
  [[noreturn]] void raise_stalled() const;  // mutex_ held
  void flush_content(const Batch& batch);
  void sync_logs();
  void append_records(Batch& batch);
  void extend_objects(const Batch& batch);
  void commit_objects(const Batch& batch);
  void remove_objects(const Batch& batch);
  std::vector<std::vector<std::byte>> snapshot();
  Mdc::Ticket append_mark();
  std::vector<std::byte> encode_mark() const;
  void compact();
  std::unique_lock<FairMutex> exclude_changes();
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

  References& references_;
  Pool& pool_;
  Clock& clock_;
  RootLog& log_;
  Mdc& mdc_;
  const Options options_;
  const Owner owner_;
  const JournalNumbers numbers_;

  FairMutex change_barrier_;  // comes before the tree's lock, and that before mutex_
  // Guards the following members. With it held only facts of the MDC and of the space are queried.
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable done_;
  ChangeQueue queue_;
  std::vector<Change> refused_;  // after a failure; kept as are failed_batches_
  std::uint64_t queued_bytes_ = 0;
  unsigned waiting_for_room_ = 0;  // threads
  Ticket written_ = 0;             // the last change completed
  Ticket wanted_ = 0;              // changes up to this one are to be written without delay
  using Moment = std::optional<Clock::Time>;
  Moment oldest_;      // when the first change in the queue came
  Moment logs_dirty_;  // when want_log_sync() was first called
  std::uint64_t compactions_wanted_ = 0, compactions_done_ = 0;
  // Passes over the logs. A pass that began before the request does not satisfy it.
  std::uint64_t log_syncs_wanted_ = 0, log_syncs_begun_ = 0, log_syncs_done_ = 0;
  std::uint64_t used_when_compacted_ = 0;  // bytes in use after the last compaction
  std::uint64_t needed_ = 0;               // bytes of room that the next compaction must provide
  std::uint64_t failed_changes_ = 0;       // that were taken from the queue and are not durable
  Condition condition_ = Condition::writing;
  std::string reason_;        // of stalled, retrying and failed
  std::uint64_t stalls_ = 0;  // how often a batch found no room
  bool stopping_ = false;

  // Used by the journal's thread only:
  std::uint64_t batch_number_;
  std::optional<Batch> stalled_batch_;
  // Objects committed since the last BATCH record: a mount checks that they exist.
  std::unordered_set<ObjectId> last_commits_;
  // Failed changes. Their mblocks are not released before the end: readers may still use them.
  std::vector<Batch> failed_batches_;

  std::thread thread_;
};

}  // namespace mpool::names

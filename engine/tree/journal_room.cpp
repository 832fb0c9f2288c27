// The room of the root MDC: how far each kind of change may fill it, and its compaction
// (engine/tree/records.md, "Room").
#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/size.h"
#include "engine/tree/footprint.h"
#include "engine/tree/journal.h"

namespace mpool::names {
namespace {

// The limits of filling, in percent of the capacity: for the tree, and for the log with its
// garbage. The tree's limit is lower, so that a compaction always gains room for many changes. A
// release has no limit for the tree.
struct Share {
  unsigned tree;
  unsigned log;
};
constexpr std::array<Share, 4> kShares = {{
    {.tree = 75, .log = 90},   // names
    {.tree = 80, .log = 90},   // root_names
    {.tree = 85, .log = 92},   // content
    {.tree = 100, .log = 97},  // release
}};

const Share& share_of(RoomFor room_for) {
  return kShares.at(static_cast<std::size_t>(room_for));
}

std::uint64_t percent_of(std::uint64_t bytes, unsigned percent) {
  return bytes / 100 * percent + bytes % 100 * percent / 100;
}

std::uint64_t difference(std::uint64_t more, std::uint64_t less) {
  return more > less ? more - less : 0;
}

// A compaction in progress when room was requested may have begun too early, and other threads may
// take the room it gained.
constexpr int kMaxCompactionAttempts = 32;

constexpr int kMaxCatchUps = 8;

// When a mount reads a compacted log, its records are held back only until the next BATCH.
constexpr std::size_t kSnapshotBatch = 4096;

}  // namespace

std::uint64_t Journal::garbage() const {
  return difference(log_.used() + queued_bytes_, owner_.footprint());
}

struct Journal::Need {
  Need(std::size_t record_size, RoomFor room, std::size_t counted)
      : log(size_in_log(record_size)), tree(size_in_log(record_size - counted)), room_for(room) {}

  std::uint64_t log;   // bytes
  std::uint64_t tree;  // of them, the maximum growth of the tree
  RoomFor room_for;
};

bool Journal::fits_tree(const Need& need) const {
  if (need.room_for == RoomFor::release) return true;
  const std::uint64_t limit = percent_of(log_.capacity(), share_of(need.room_for).tree);
  return owner_.footprint() + need.tree <= limit;
}

bool Journal::fits(const Need& need) const {
  const std::uint64_t used = log_.used() + queued_bytes_ + need.log;
  return used <= percent_of(log_.active_capacity(), share_of(need.room_for).log) && fits_tree(need);
}

bool Journal::has_room(std::size_t record_size, RoomFor room_for, std::size_t counted) const {
  const std::lock_guard lock(mutex_);
  const bool open =
      condition_ == Condition::writing || (is_stalled() && room_for == RoomFor::release);
  return open && fits({record_size, room_for, counted});
}

std::uint64_t Journal::free_for(RoomFor room_for) const {
  const std::uint64_t limit = percent_of(log_.possible_capacity(), share_of(room_for).tree);
  return difference(limit, owner_.footprint());
}

bool Journal::compaction_helps(const Need& need) const {
  if (need.room_for == RoomFor::release || log_.can_grow()) return true;
  return fits_tree(need) && garbage() > 0;
}

void Journal::make_room(std::size_t record_size, RoomFor room_for, std::size_t counted) {
  const Need need(record_size, room_for, counted);
  std::unique_lock lock(mutex_);
  if (!is_stalled() && fits(need)) return check_failed();
  const WaitForRoom waiting(*this);
  await_retry(lock);
  check_failed();
  for (int attempt = 0; attempt < kMaxCompactionAttempts && !fits(need); ++attempt) {
    if (!compaction_helps(need)) break;
    const std::uint64_t mine = compactions_done_ + 1;
    compactions_wanted_ = std::max(compactions_wanted_, mine);
    if (room_for != RoomFor::release) needed_ = std::max(needed_, need.log);
    work_.notify_one();
    done_.wait(lock, [&] { return compactions_done_ >= mine || is_stalled() || has_failed(); });
    check_failed();
  }
  if (is_stalled() && room_for != RoomFor::release) raise_stalled();
  if (fits(need)) return;
  raise(ENOSPC, "pool " + pool_.name(),
        "the root MDC of {} has no room for more names, and there is no space for it to grow",
        format_size(log_.capacity()));
}

bool Journal::compaction_is_due() const {
  const Tunables::Journal& due = pool_.tunables().journal;
  const std::uint64_t capacity = log_.active_capacity();
  const std::uint64_t used = log_.used();
  if (log_.is_uneven() && log_.can_grow()) return true;
  if (used < percent_of(capacity, due.compact_full)) return false;
  if (owner_.footprint() > percent_of(log_.capacity(), due.grow_live) && log_.can_grow())
    return true;
  if (used < used_when_compacted_ + percent_of(capacity, due.compact_written)) return false;
  const std::uint64_t garbage = difference(used, owner_.footprint());
  return garbage >= percent_of(capacity, due.compact_garbage) ||
         (used >= percent_of(capacity, due.nearly_full) &&
          garbage >= percent_of(capacity, due.nearly_full_garbage));
}

// The records of the tree, and of the objects held for deletion, which no name in it shows.
std::vector<std::vector<std::byte>> Journal::snapshot() {
  std::vector<std::vector<std::byte>> records = owner_.snapshot();
  std::vector<ObjectId> waiting = references_.waiting();
  if (!waiting.empty()) records.push_back(encode({0, OrphanRecord{std::move(waiting)}}));
  return records;
}

void Journal::compact() {
  compact_tree();
  const std::lock_guard lock(mutex_);
  used_when_compacted_ = mdc_.used();
  compactions_done_ = compactions_wanted_;
  done_.notify_all();
}

// Returns when no change in the tree has overtaken one that is expected: that can come only without
// the barrier. Not forever on a busy pool.
std::unique_lock<FairMutex> Journal::exclude_changes() {
  for (int attempt = 1;; ++attempt) {
    std::unique_lock barrier(change_barrier_);
    const Ticket last = ask_for_expected();
    std::unique_lock lock(mutex_);
    if (!must_wait_for_expected(last) || attempt == kMaxCatchUps) return barrier;
    barrier.unlock();
    wait_for_expected(lock, last);
  }
}

void Journal::compact_tree() {
  std::vector<std::vector<std::byte>> records;
  {
    const std::unique_lock barrier = exclude_changes();
    for (bool empty = false; !empty;) {
      Batch batch = take_batch(std::numeric_limits<Ticket>::max());
      empty = batch.changes.empty();
      // Changes that wait for room are in the tree, but their objects are not.
      if (!write(batch)) return;
    }
    records = snapshot();
  }
  std::uint64_t live = 0;
  for (const std::vector<std::byte>& record : records)
    live += bytes_in_log(record.size());
  std::uint64_t needed;
  {
    const std::lock_guard lock(mutex_);
    needed = std::exchange(needed_, 0);
  }
  try {
    log_.compact(live, needed, [&](const Mdc::Append& append) {
      for (std::size_t i = 0; i < records.size(); ++i) {
        append(records[i]);
        if ((i + 1) % kSnapshotBatch == 0) append(encode_mark());
      }
      append(encode_mark());
    });
    ++batch_number_;
    last_commits_.clear();
    numbers_.compactions.add();
  } catch (const Error& error) {
    // The tree does not fit: the old log stays valid, and make_room() finds no room.
    if (error.code() != EFBIG) throw;
  }
}

}  // namespace mpool::names

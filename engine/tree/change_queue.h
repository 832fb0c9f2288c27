// The changes that wait to be written, in their order, with placeholders for changes that are still
// to come (engine/tree/README.md, "Order of changes").
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "engine/object/log.h"
#include "engine/object/mblock.h"
#include "engine/object/pack.h"
#include "engine/pool/pool.h"
#include "engine/tree/attributes.h"

namespace mpool::names {

// The size of a log as a record states it. The record is omitted unless these appends are durable.
struct LogSize {
  InodeNumber inode = 0;
  std::shared_ptr<const Log> log;
  std::uint64_t appends = 0;
};

// A user-visible change to be made durable.
struct Change {
  std::vector<std::byte> record = {};      // encoded; empty: only objects change
  std::vector<SealedMblock> mblocks = {};  // committed, or made longer, with the change
  std::optional<ObjectRecord> mlog = {};   // allocated; committed with the change
  PackRoom::Packed packed = {};        // the record is of this content, which is written before it
  std::vector<ObjectId> deletes = {};  // objects that lost their last name by the change
  std::unique_ptr<LogSize> log_size = nullptr;  // the log size in the record
};

// Not thread-safe: Journal guards it.
class ChangeQueue {
 public:
  // The position of a change or of a placeholder: 1, 2, 3, ...
  using Ticket = std::uint64_t;

  // A position in the queue for changes that are known later: a descriptor was closed, and the
  // commit of its file may follow. Shared by the queue and by its holder.
  class Placeholder {
   public:
    // False once it was completed or withdrawn: changes added to it go to the end of the queue.
    bool is_open() const { return state_ != State::closed; }

   private:
    friend class ChangeQueue;
    // open: changes may come. expected: they will. closed: no more will.
    enum class State : std::uint8_t { open, expected, closed };
    State state_ = State::open;
    Ticket ticket_ = 0;
    std::vector<Change> changes_;
    std::list<std::shared_ptr<Placeholder>>::iterator self_;  // in open_, while it is open
  };
  using SharedPlaceholder = std::shared_ptr<Placeholder>;

  // With more open ones the oldest is withdrawn.
  static constexpr std::size_t kMaxPlaceholders = 1024;

  // Both return the position of the change.
  Ticket add(Change change);
  Ticket add(Change change, Placeholder* placeholder);  // null, or no longer open: at the end

  // A placeholder behind everything that was added.
  SharedPlaceholder add_placeholder();
  // The changes will come soon.
  void expect(Placeholder& placeholder);
  // No more changes will come there: it is complete, or withdrawn. No effect on a closed one.
  void close(Placeholder& placeholder);

  // The last position.
  Ticket last() const { return last_; }
  // The number of changes, and of closed placeholders.
  std::size_t size() const { return entries_.size() - open_.size(); }
  bool has_placeholders() const { return !open_.empty(); }
  // True if changes are expected at a position up to `limit`.
  bool is_expecting(Ticket limit) const;

  struct Taken {
    std::vector<Change> changes;
    Ticket last = 0;  // the position of the last change
  };
  // Removes changes from the front: up to the position `limit`, and no further ones after
  // `max_bytes` of records or `max_changes`. Open placeholders move to the end.
  Taken take(Ticket limit, std::size_t max_bytes, std::size_t max_changes);

 private:
  struct Entry {
    Change change = {};
    SharedPlaceholder placeholder = nullptr;  // null: the change
  };
  Ticket front_ticket() const { return last_ - entries_.size() + 1; }
  void enter(SharedPlaceholder placeholder);

  std::deque<Entry> entries_;          // at consecutive positions; the last one has last_
  std::list<SharedPlaceholder> open_;  // in the order of their positions
  Ticket last_ = 0;
};

}  // namespace mpool::names

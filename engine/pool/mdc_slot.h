// One metadata container of an active pool with the objects it describes.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/mlog/mdc.h"
#include "engine/pool/object_table.h"
#include "engine/pool/pool.h"

namespace mpool {

// MDC number `slot`. Locks (order in engine/pool/locking.md): `ids` serialises id allocation;
// `update` serialises appends and compaction, so that a compaction sees a change of the table and
// its record as one step; the table has its own lock. Waiting for durability takes none of them.
class MdcSlot {
 public:
  // Returns the records that precede the objects after a compaction; called under `update`. Null:
  // the last id checkpoint.
  using Preamble = std::function<std::vector<MetadataRecord>()>;
  // A change that becomes durable with the ticket; nothing when it is durable already.
  using Pending = std::optional<Mdc::Ticket>;

  // Counts its compactions in `compactions`, which must outlive it.
  MdcSlot(unsigned slot, std::string pool, Preamble preamble, Counter& compactions);

  unsigned slot() const { return slot_; }
  const std::string& name() const { return name_; }  // "MDC3 of pool p"
  ObjectTable& table() { return table_; }
  const ObjectTable& table() const { return table_; }
  std::unique_lock<std::mutex> lock_updates() const { return std::unique_lock(update_); }

  // --- life ---
  // sector_size: bytes of a log block.
  void attach(std::unique_ptr<Mdc> mdc, std::uint32_t sector_size);
  // Attaches an empty MDC in memory in place of an unreadable one.
  void attach_nothing();
  // Writes the work that opening the MDC deferred (Mdc::finish).
  void finish() { mdc_->finish(); }
  // Calls `apply` with each record on the media; the caller decodes. Single-threaded start-up only,
  // before any change.
  void load(const std::function<void(ConstByteSpan)>& apply);
  std::uint64_t used() const { return mdc_->used(); }

  // --- changes ---
  // Records a change that the table already contains. Called under `update`. Appends the record;
  // when the MDC is full, compacts it instead, which also writes the change and makes it durable.
  // Throws ENOSPC when the live records do not fit: then no part of the change is on the media.
  // After any other error that is unknown.
  Pending log(const MetadataRecord& record);
  // Blocks until the change is durable. Must be called without locks.
  void wait(Pending pending) {
    if (pending) mdc_->sync(*pending);
  }
  struct Change {
    MdcSlot* slot;
    Pending pending;
  };
  // The same for changes of several MDCs, with one flush of the device for all. On an error some
  // may be durable: wait() for each returns its state.
  static void wait(std::span<const Change> changes);
  // True if the MDC is at least `full` percent full and at least `garbage` percent of its records
  // are garbage.
  bool is_worth_compacting(unsigned full, unsigned garbage) const {
    const auto updates = lock_updates();
    return is_worth_compacting_locked(full, garbage);
  }
  // Compacts the MDC if it is_worth_compacting(). False: no compaction. Errors as of log().
  bool compact_if(unsigned full, unsigned garbage);

  // --- ids (not of slot 0) ---
  // Returns the next id, after making its checkpoint durable if it needs one.
  ObjectId next_id(ObjectType type);
  // A new MDC: ids start from the first; none was ever handed out.
  void start_ids() { next_uniquifier_ = first_uniquifier(); }
  // Loading: the last checkpoint found.
  void set_checkpoint(ObjectId id);
  bool has_checkpoint() const { return checkpoint().uniquifier() != 0; }
  // True if the id was handed out to users (or may have been, before a crash).
  bool was_handed_out(ObjectId id) const;

  // Bytes of records that can still be added such that a compaction leaves some room.
  std::uint64_t room() const;
  // The objects in the table, allocated ones included, leave less: not all of them could be
  // committed.
  bool overfull() const { return table_.record_bytes() > payload_limit_; }

  Pool::MdcStats stats() const;
  Mdc::State state() const { return mdc_->state(); }
  void read(const std::function<void(ConstByteSpan)>& record) const;

 private:
  bool is_worth_compacting_locked(unsigned full, unsigned garbage) const;
  void compact();
  std::vector<MetadataRecord> preamble() const;
  std::uint64_t live_records() const { return table_.live_count() + preamble().size(); }
  // The first uniquifier for users; in MDC1 the two before it belong to the root MDC.
  std::uint64_t first_uniquifier() const { return slot_ == 1 ? 2 : 1; }
  ObjectId checkpoint() const { return ObjectId{checkpoint_.load()}; }

  const unsigned slot_;
  const std::string name_;
  const Preamble preamble_;
  Counter& compactions_;
  std::unique_ptr<Device> nothing_;  // the device of an MDC from attach_nothing()
  std::unique_ptr<Mdc> mdc_;
  ObjectTable table_;
  std::mutex ids_;
  mutable std::mutex update_;
  std::atomic<std::uint64_t> next_uniquifier_;
  std::atomic<std::uint64_t> checkpoint_;   // value of the last OIDCKPT's id
  std::atomic<std::uint64_t> records_ = 0;  // in the active log
  std::uint64_t payload_limit_ = 0;
};

}  // namespace mpool

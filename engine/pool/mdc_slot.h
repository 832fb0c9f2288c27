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

// MDC number `slot`. Locks (order in engine/pool/locking.md): `ids` serialises handing out ids;
// `update` serialises appends and compaction, so that a change of the table and its record are one
// step for a compaction; the table has its own. Waiting for durability takes none of them.
class MdcSlot {
 public:
  // Records that precede the objects after a compaction; called under `update`. Null: the last id
  // checkpoint.
  using Preamble = std::function<std::vector<MetadataRecord>()>;
  // A change that is not durable before the ticket is; nothing when it is durable already.
  using Pending = std::optional<Mdc::Ticket>;

  MdcSlot(unsigned slot, std::string pool, Preamble preamble);

  unsigned slot() const { return slot_; }
  const std::string& name() const { return name_; }  // "MDC3 of pool p"
  ObjectTable& table() { return table_; }
  const ObjectTable& table() const { return table_; }
  std::unique_lock<std::mutex> lock_updates() const { return std::unique_lock(update_); }

  // --- life ---
  // sector_size: bytes of a log block.
  void attach(std::unique_ptr<Mdc> mdc, std::uint32_t sector_size);
  // Attaches an empty MDC in memory, in the place of one that cannot be read at all.
  void attach_nothing();
  // Writes what opening the MDC left to be done (Mdc::finish).
  void finish() { mdc_->finish(); }
  // Calls `apply` with each record that is on the media; the caller decodes. Single-threaded
  // start-up only, before any change.
  void load(const std::function<void(ConstByteSpan)>& apply);
  std::uint64_t used() const { return mdc_->used(); }

  // --- changes ---
  // The record of a change that the table shows already. Under `update`. Appends it, or when the
  // MDC is full compacts it, which writes the change too and makes it durable. Throws ENOSPC when
  // the live records do not fit; then nothing of the change is on the media. Any other error leaves
  // that open.
  Pending log(const MetadataRecord& record);
  // Returns when the change is durable. Not under a lock.
  void wait(Pending pending) {
    if (pending) mdc_->sync(*pending);
  }
  struct Change {
    MdcSlot* slot;
    Pending pending;
  };
  // The same for changes of several MDCs, with one flush of the device for all. On an error some
  // may be durable: wait() for each tells.
  static void wait(std::span<const Change> changes);
  // Compacts the MDC when it is filled by that part and its records are superfluous by that part
  // at least, both in percent. False when it is not worth it. Errors as of log().
  bool compact_if(unsigned full, unsigned garbage);

  // --- ids (not of slot 0) ---
  // The next id, its checkpoint durable if it needs one.
  ObjectId next_id(ObjectType type);
  // A new MDC: ids start from the first, none was ever handed out.
  void start_ids() { next_uniquifier_ = first_uniquifier(); }
  // Loading: the last checkpoint found.
  void set_checkpoint(ObjectId id);
  bool has_checkpoint() const { return checkpoint().uniquifier() != 0; }
  // Whether the id was handed out (or may have been before a crash) to users.
  bool was_handed_out(ObjectId id) const;

  // Bytes of records that can still be added so that a compaction leaves some room.
  std::uint64_t room() const;
  // The objects in the table, allocated ones too, leave less: not all could be committed.
  bool overfull() const { return table_.record_bytes() > payload_limit_; }

  Pool::MdcFacts facts() const;
  Mdc::State state() const { return mdc_->state(); }
  void read(const std::function<void(ConstByteSpan)>& record) const;

 private:
  void compact();
  std::vector<MetadataRecord> preamble() const;
  std::uint64_t live_records() const { return table_.live_count() + preamble().size(); }
  // Of users; in MDC1 the two before it are the root MDC's.
  std::uint64_t first_uniquifier() const { return slot_ == 1 ? 2 : 1; }
  ObjectId checkpoint() const { return ObjectId{checkpoint_.load()}; }

  const unsigned slot_;
  const std::string name_;
  const Preamble preamble_;
  std::unique_ptr<Device> nothing_;  // what attach_nothing() opened the MDC on
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

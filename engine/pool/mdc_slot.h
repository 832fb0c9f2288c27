// One metadata container of an active pool with the objects it describes.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/mlog/mdc.h"
#include "engine/pool/object_table.h"
#include "engine/pool/pool.h"

namespace mpool {

// MDC number `slot`. Locks (order in locking.md): `ids` serialises handing out ids; `update` serialises
// appends and compaction, so that a change of the table and its record are one step for a compaction; the
// table has its own. Waiting for durability takes none of them.
class MdcSlot {
 public:
  // Records that precede the objects after a compaction; called under `update`.
  using Preamble = std::function<std::vector<MetadataRecord>()>;

  MdcSlot(unsigned slot, std::string pool, Preamble preamble);

  unsigned slot() const { return slot_; }
  const std::string& name() const { return name_; }  // "MDC3 of pool p"
  ObjectTable& table() { return table_; }
  const ObjectTable& table() const { return table_; }
  std::unique_lock<std::mutex> lock_updates() const { return std::unique_lock(update_); }

  // --- life ---
  void attach(std::unique_ptr<Mdc> mdc) { mdc_ = std::move(mdc); }
  Mdc& mdc() { return *mdc_; }
  // Calls `apply` with each record that is on the media; the caller decodes. Single-threaded start-up only,
  // before any change.
  void load(const std::function<void(ConstByteSpan)>& apply);

  // --- changes ---
  // The record of a change that the table shows already. Under `update`. Appends it, or when the MDC is
  // full compacts it, which writes the change too. The result is for wait(). Throws ENOSPC when the live
  // records do not fit; then nothing of the change is on the media. Any other error leaves that open.
  Mdc::Ticket log(const MetadataRecord& record);
  void wait(Mdc::Ticket ticket) { mdc_->sync(ticket); }

  // --- ids (not of slot 0) ---
  // The next id, its checkpoint durable if it needs one.
  ObjectId next_id(ObjectType type);
  // Loading: the last checkpoint found.
  void set_checkpoint(ObjectId id);
  // Whether the id was handed out (or may have been before a crash) to users.
  bool was_handed_out(ObjectId id) const;

  // Bytes of records that can still be added so that a compaction leaves some room.
  std::uint64_t room() const;

  Pool::MdcFacts facts() const;
  void read(const std::function<void(ConstByteSpan)>& record) const;

 private:
  void compact();
  ObjectId checkpoint() const { return ObjectId{checkpoint_.load()}; }

  const unsigned slot_;
  const std::string name_;
  const Preamble preamble_;
  std::unique_ptr<Mdc> mdc_;
  ObjectTable table_;
  std::mutex ids_;
  mutable std::mutex update_;
  std::atomic<std::uint64_t> next_uniquifier_;
  std::atomic<std::uint64_t> checkpoint_;  // value of the last OIDCKPT's id
  std::atomic<std::uint64_t> records_ = 0;  // in the active log
  std::atomic<std::uint64_t> preamble_records_ = 0;
  std::uint64_t payload_limit_ = 0;
};

}  // namespace mpool

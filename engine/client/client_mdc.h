// An open pair of mlogs as programs use it (engine/client/README.md).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <utility>

#include "engine/base/bytes.h"
#include "engine/client/client_log.h"
#include "engine/mlog/mdc.h"
#include "engine/pool/object_pin.h"
#include "engine/pool/pool.h"

namespace mpool {

class ClientMdc;

// The pair of logs that all opens of an MDC share. Its objects cannot be deleted meanwhile.
//
// Threads: all functions may be called at the same time. Lock order: exclusive_, append_, that of
// the reader.
class ClientPair {
 public:
  // Finishes what a crash interrupted, durable on return. ENOENT unless both are committed mlogs;
  // EINVAL for a pair whose active log cannot be told (both have an unfinished compaction, or the
  // same generation), ENODATA for a damaged one; those of Mdc::open.
  ClientPair(Pool& pool, ObjectId first, ObjectId second);
  ClientPair(const ClientPair&) = delete;
  ClientPair& operator=(const ClientPair&) = delete;

  const std::array<ObjectId, 2>& ids() const { return ids_; }
  bool failed() const;  // a compaction failed
  // True if the first record satisfies `condition`; false without records. EINVAL: failed.
  bool first_record_is(bool (*condition)(ConstByteSpan record)) const;

 private:
  friend class ClientMdc;

  // The caller holds exclusive_ during these.
  void check_usable() const;
  void sync();
  void close_for_good() noexcept;

  const std::array<ObjectId, 2> ids_;
  const std::array<ObjectPin, 2> pins_;
  mutable std::shared_mutex exclusive_;    // held exclusively while a compaction begins or ends
  std::mutex append_;                      // guards appended_
  Mdc::Ticket appended_ = 0;               // of the last append
  std::unique_ptr<Mdc> mdc_;               // null: failed
  const ClientMdc* compacting_ = nullptr;  // the open that has begun a compaction
  std::optional<SharedReader> reader_;
};

// One open of a metadata container of a program.
//
// A compaction is made of two calls, with the appends of the remaining records in between. When one
// of them fails the MDC cannot be used any more: every later call of every open throws EINVAL.
// During a compaction the calls of all other opens throw EBUSY: what they appended would be lost if
// the compaction does not end.
//
// Threads: all functions may be called at the same time; during a compaction other threads must not
// append by the open that compacts.
class ClientMdc {
 public:
  explicit ClientMdc(std::shared_ptr<ClientPair> pair) : pair_(std::move(pair)) {}
  ClientMdc(const ClientMdc&) = delete;
  ClientMdc& operator=(const ClientMdc&) = delete;

  const ClientPair& pair() const { return *pair_; }

  // EFBIG when the active log is full: compact and append again.
  void append(ConstByteSpan record, bool durable);
  void sync();
  std::uint64_t used() const;  // bytes of the active log
  // Begins a compaction: from here on appends and reads are those of the new content.
  void start_compaction();
  // Ends it: the new content is durable and replaces the old.
  void end_compaction();

  SharedReader::Result read(ByteSpan into);
  void rewind();
  bool failed() const { return pair_->failed(); }

  // Makes durable what was appended, by all opens. A compaction that this open began and did not
  // end fails: the old content is that of the next open. False: the MDC has failed. Nothing is
  // called afterwards.
  bool end();

 private:
  // Locks exclusive_. EINVAL, EBUSY.
  template <typename Lock>
  Lock use() const;

  const std::shared_ptr<ClientPair> pair_;
};

}  // namespace mpool

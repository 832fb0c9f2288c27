// An open pair of mlogs as programs use it (engine/client/README.md).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>

#include "engine/base/bytes.h"
#include "engine/client/client_log.h"
#include "engine/mlog/mdc.h"
#include "engine/pool/object_pin.h"
#include "engine/pool/pool.h"

namespace mpool {

// A metadata container of a program. Its objects cannot be deleted while it is open.
//
// A compaction is made of two calls, with the appends of the remaining records in between. When one
// of them fails the MDC cannot be used any more: every later call throws EINVAL.
//
// Threads: all functions may be called at the same time; during a compaction other threads must not
// append. Lock order: exclusive_, append_, that of the reader.
class ClientMdc {
 public:
  using Opener = std::uint64_t;

  // Finishes what a crash interrupted, durable on return. ENOENT unless both are committed mlogs;
  // EINVAL for a pair whose active log cannot be told (both have an unfinished compaction, or the
  // same generation), ENODATA for a damaged one; those of Mdc::open.
  ClientMdc(Pool& pool, ObjectId first, ObjectId second);
  ClientMdc(const ClientMdc&) = delete;
  ClientMdc& operator=(const ClientMdc&) = delete;

  const std::array<ObjectId, 2>& ids() const { return ids_; }

  // EFBIG when the active log is full: compact and append again.
  void append(ConstByteSpan record, bool durable);
  void sync();
  std::uint64_t used() const;  // bytes of the active log
  // Begins a compaction: from here on appends and reads are those of the new content.
  void start_compaction(Opener opener = 0);
  // Ends it: the new content is durable and replaces the old.
  void end_compaction();
  // A number for one of several openers.
  Opener add_opener() { return ++openers_; }
  // EBUSY during a compaction that another opener began.
  void check_opener(Opener opener) const;
  // That opener is about to close the MDC. If it began a compaction that has not ended, that has
  // failed for all other openers: the old content is that of the next open. No effect otherwise.
  void abandon_compaction(Opener opener) noexcept;

  SharedReader::Result read(ByteSpan into);
  void rewind();
  bool failed() const;  // a compaction failed
  // True if the first record satisfies `condition`; false without records.
  bool first_record_is(bool (*condition)(ConstByteSpan record)) const;

 private:
  void check_usable() const;
  void close_for_good() noexcept;

  const std::array<ObjectId, 2> ids_;
  const std::array<ObjectPin, 2> pins_;
  mutable std::shared_mutex exclusive_;  // held exclusively while a compaction begins or ends
  std::mutex append_;                    // guards appended_
  Mdc::Ticket appended_ = 0;             // of the last append
  std::unique_ptr<Mdc> mdc_;             // null: failed
  std::optional<Opener> compacting_;     // has begun a compaction
  std::atomic<Opener> openers_ = 0;
  std::optional<SharedReader> reader_;
};

}  // namespace mpool

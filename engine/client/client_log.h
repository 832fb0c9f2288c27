// An open mlog as programs use it (engine/client/README.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <utility>

#include "engine/base/bytes.h"
#include "engine/mlog/mlog.h"
#include "engine/pool/object_pin.h"
#include "engine/pool/pool.h"

namespace mpool {

// The one position of reading in a log that all its users share.
//
// Threads: all functions may be called at the same time.
class SharedReader {
 public:
  explicit SharedReader(MlogReader reader) : reader_(std::move(reader)) {}

  // The outcome of a read: a record of `length` bytes that is in the memory; or one that is too
  // long for it, or of another length than the caller wanted to pass over.
  struct Result {
    int error = 0;           // 0, EOVERFLOW or ERANGE: as the functions say
    std::size_t length = 0;  // bytes; 0 at the end
  };
  // The next record. At the end: length 0. EOVERFLOW: it is longer than `into`; the position stays.
  Result read(ByteSpan into);
  // Passes over one record, which must have `length` bytes: ERANGE at the end and for a shorter
  // one, behind which the position then is; EOVERFLOW for a longer one, where it stays.
  Result skip(std::size_t length);
  void rewind();

 private:
  std::mutex mutex_;
  MlogReader reader_;
};

// A committed mlog that is open. The object cannot be deleted meanwhile.
//
// Threads: all functions may be called at the same time. Lock order: exclusive_, then that of the
// reader.
class ClientLog {
 public:
  struct Options {
    CompactionSemantics semantics = CompactionSemantics::off;
    bool serialised_by_caller = false;  // only compared: the log locks all the same
    bool include(const Options& wanted) const {
      return (semantics == wanted.semantics || wanted.semantics == CompactionSemantics::off) &&
             (serialised_by_caller || !wanted.serialised_by_caller);
    }
  };
  // ENOENT unless it is a committed mlog; those of Mlog::open.
  ClientLog(Pool& pool, ObjectId id, Options options);
  ClientLog(const ClientLog&) = delete;
  ClientLog& operator=(const ClientLog&) = delete;

  ObjectId id() const { return id_; }
  const Options& options() const { return options_; }

  // One record, the concatenation of `parts`. `durable`: with everything before. EFBIG: no room,
  // nothing appended. EINVAL with compaction semantics before a start marker.
  void append(std::span<const ConstByteSpan> parts, bool durable);
  void sync();
  std::uint64_t used() const;  // bytes, block headers included
  std::uint64_t generation() const;
  // Empties the log: its generation becomes the present one + 1, or `min_generation` if that is
  // greater. Durable on return; the position of reading is the start.
  void erase(std::uint64_t min_generation);

  SharedReader::Result read(ByteSpan into);
  // SharedReader::skip(), then read() unless `into` is empty.
  SharedReader::Result skip_and_read(std::size_t length, ByteSpan into);
  void rewind();

 private:
  Pool& pool_;
  const ObjectId id_;
  const Options options_;
  const ObjectPin pin_;
  mutable std::shared_mutex exclusive_;  // held exclusively to erase
  const std::unique_ptr<Mlog> log_;
  SharedReader reader_;
};

}  // namespace mpool

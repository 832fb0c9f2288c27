// What is behind Mlog. Internal to engine/mlog.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "engine/base/aligned_buffer.h"
#include "engine/format/log_block.h"
#include "engine/mlog/mlog.h"

namespace mpool {

// A stretch of the log in memory: whole pages from byte `start` of the log (a multiple of
// kPageSize).
struct LogPages {
  AlignedBuffer buffer;
  std::uint64_t start = 0;

  // Bytes [from, from + into.size()) of the log, which must lie inside.
  void copy(std::uint64_t from, ByteSpan into) const;
};

// The blocks of the log, by where they are:
//
//   | on the device only | in_flight_ (being written) | tail_ (last page written, and not written
//   yet) |
//
// tail_ holds whole pages, so what is below it and in_flight_ is never written again and may be
// read from the device without a lock. A block that is in both is newer in tail_ (a partly filled
// last block that was written and went on growing).
//
// Locks: append_mutex_ (one record at a time) before mutex_ (everything else). Neither is held
// during I/O but for append_mutex_, when an append has to write a full buffer.
struct Mlog::Impl {
  explicit Impl(const MlogPlace& place, CompactionSemantics semantics);

  // Reads and validates the log (mlog_open.cpp).
  void load(OnDamage on_damage);

  // Appends a record, or a marker (no parts).
  Ticket append(ChunkType kind, std::span<const ConstByteSpan> parts);
  void sync(Ticket ticket);
  std::optional<Written> write(Ticket ticket);
  void flushed(const Written& written);
  Ticket appended() const;
  void reset(std::uint64_t generation);
  bool fits(std::uint64_t length) const;
  Facts facts() const;
  const OpenInfo& opened() const { return opened_; }
  End end() const;

  // What a reader gets of the log, as of one moment.
  struct Window {
    std::uint32_t end = 0;  // blocks in the log
    std::uint64_t generation = 0;
    std::uint64_t memory_start = 0;  // byte of the log from which on it came from memory
  };
  // Reads the log from byte `from` (multiple of kPageSize) as far as it goes and `into` has room.
  Window fetch(std::uint64_t from, ByteSpan into) const;

  struct Counts {
    std::uint64_t generation, used, records, payload;
    bool has_start, has_end;
  };
  Counts counts() const;

  const MlogPlace place_;  // its generation is that at open(): see generation_
  const CompactionSemantics semantics_;
  const std::uint32_t block_size_;
  const std::uint32_t block_limit_;  // blocks that fit in the capacity

 private:
  std::mutex append_mutex_;
  mutable std::mutex mutex_;
  // Who waits for write n waits at n % 2: woken when it has ended, and one of them to do it.
  std::array<std::condition_variable, 2> write_ended_;
  std::uint64_t generation_;
  bool has_start_ = false;
  bool has_end_ = false;
  std::uint64_t records_ = 0;
  std::uint64_t payload_ = 0;

  using Lock = std::unique_lock<std::mutex>;

  std::uint64_t bytes(std::uint32_t blocks) const { return std::uint64_t{blocks} * block_size_; }
  void start_tail(std::uint64_t log_end, ConstByteSpan last_page);
  // Room for chunks in the last block, 0 when a new block must be begun.
  std::size_t room() const;
  bool fits_locked(std::uint64_t length) const;
  bool tail_full() const;
  void check_usable() const;
  void begin_block();
  void put_chunk(ChunkType type, std::uint32_t record_length, std::size_t length,
                 class Gather& from);
  void stamp_flush_set();
  void take_flight();
  template <typename Done, typename Covered>
  void write_until(Lock& lock, bool make_durable, Done done, Covered covered);
  void write_out(Lock& lock, bool make_durable);
  struct Failure;
  std::optional<Failure> do_io(std::size_t length, bool flush_first, bool make_durable);

  bool dirty_ = false;    // tail_ holds chunks that no flush has taken
  bool writing_ = false;  // somebody is in write_out(), for
  Ticket writing_upto_ = 0;
  bool flushing_ = false;     // and will make it durable
  std::uint64_t writes_ = 0;  // the number of that write, or of the last one
  std::string failure_;       // of a write or flush; not empty: no more appends
  LogPages tail_;
  LogPages in_flight_;  // buffer empty: none
  // What in_flight_ holds. It stays there when the device had no room for it: the next write
  // repeats it.
  struct Flight {
    std::size_t length = 0;  // bytes to write
    Ticket ticket = 0;       // the last append in it
    End end;
  } flight_;
  std::uint32_t end_ = 0;              // blocks begun
  std::size_t fill_ = 0;               // bytes used in the last block; 0: a new block comes next
  std::uint32_t first_unwritten_ = 0;  // block the next flush begins with
  std::uint32_t previous_set_ = 0;     // flush-set id of the block before it, as last written
  std::uint32_t next_set_ = 1;
  Ticket appended_ = 0;
  Ticket written_ = 0;
  Ticket durable_ = 0;
  End written_end_;
  std::uint32_t durable_set_ = 0;  // flush set up to which all is known to be durable
  OpenInfo opened_;                // constant after load()
};

}  // namespace mpool

// The implementation of Mlog. Internal to engine/mlog.
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

// A contiguous part of the log in memory: whole pages from byte `start` of the log (a multiple of
// kPageSize).
struct LogPages {
  AlignedBuffer buffer;
  std::uint64_t start = 0;

  // Bytes [from, from + into.size()) of the log, which must lie inside.
  void copy(std::uint64_t from, ByteSpan into) const;
};

// The blocks of the log, by location:
//
//   on the device only: written, never written again
//   in_flight_: being written
//   tail_: the last page written, and pages not written yet
//
// tail_ holds whole pages. Blocks below tail_ and in_flight_ are never written again and may be
// read from the device without a lock. A block that is in both is newer in tail_ (a partly filled
// last block that was written and then grew).
//
// Locks: append_mutex_ (one record at a time) before mutex_ (everything else). No lock is held
// during I/O, except append_mutex_ when an append must write a full buffer.
struct Mlog::Impl {
  explicit Impl(const MlogLocation& location, CompactionSemantics semantics);

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
  Stats stats() const;
  const OpenInfo& opened() const { return opened_; }
  End end() const;

  // The state of the log at the moment of a fetch().
  struct Window {
    std::uint32_t end = 0;  // blocks in the log
    std::uint64_t generation = 0;
    std::uint64_t memory_start = 0;  // content from this byte of the log on came from memory
  };
  // Reads the log from byte `from` (a multiple of kPageSize) to its end or until `into` is full.
  Window fetch(std::uint64_t from, ByteSpan into) const;

  struct Counts {
    std::uint64_t generation, used, records, payload;
    bool has_start, has_end;
  };
  Counts counts() const;

  const MlogLocation location_;  // its generation is the one at open(): see generation_
  const CompactionSemantics semantics_;
  const std::uint32_t block_size_;
  const std::uint32_t block_limit_;  // blocks that fit in the capacity

 private:
  std::mutex append_mutex_;
  mutable std::mutex mutex_;
  // A caller that needs write n blocks on element n % 2. The end of write n wakes all of them, and
  // one caller that needs write n + 1, which performs it.
  std::array<std::condition_variable, 2> write_ended_;
  std::uint64_t generation_;
  bool has_start_ = false;
  bool has_end_ = false;
  std::uint64_t records_ = 0;
  std::uint64_t payload_ = 0;

  using Lock = std::unique_lock<std::mutex>;

  std::uint64_t bytes(std::uint32_t blocks) const { return std::uint64_t{blocks} * block_size_; }
  void start_tail(std::uint64_t log_end, ConstByteSpan last_page);
  // Room for chunks in the last block; 0 when a new block must be begun.
  std::size_t room() const;
  bool fits_locked(std::uint64_t length) const;
  bool tail_full() const;
  void check_usable() const;
  void begin_block();
  void put_chunk(ChunkType type, std::uint32_t record_length, std::size_t length,
                 class Gather& from);
  void stamp_flush_set();
  void begin_flush();
  template <typename Done, typename Covered>
  void write_until(Lock& lock, bool make_durable, Done done, Covered covered);
  void write_out(Lock& lock, bool make_durable);
  struct Failure;
  std::optional<Failure> do_io(std::size_t length, bool flush_first, bool make_durable);

  bool dirty_ = false;    // tail_ holds chunks that no flush has taken
  bool writing_ = false;  // a thread is in write_out()
  Ticket writing_upto_ = 0;
  bool flushing_ = false;     // that thread will make the data durable
  std::uint64_t writes_ = 0;  // the number of the write in progress, or of the last one
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
  std::uint32_t first_unwritten_ = 0;  // the first block of the next flush
  // flush-set id of the block before first_unwritten_, as last written
  std::uint32_t previous_set_ = 0;
  std::uint32_t next_set_ = 1;
  Ticket appended_ = 0;
  Ticket written_ = 0;
  Ticket durable_ = 0;
  End written_end_;
  std::uint32_t durable_set_ = 0;  // all flush sets up to this one are known to be durable
  OpenInfo opened_;                // constant after load()
};

}  // namespace mpool

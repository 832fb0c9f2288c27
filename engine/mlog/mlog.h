// mlog: an append-only log of records in contiguous zones (engine/format/README.md, "mlog";
// engine/mlog/README.md, "Logs").
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/base/aligned_buffer.h"
#include "engine/base/uuid.h"
#include "engine/io/device.h"

namespace mpool {

// The location of a log and the marks of its blocks.
struct MlogLocation {
  Device* device = nullptr;       // outlives the Mlog
  std::uint64_t offset = 0;       // bytes; multiple of kPageSize
  std::uint64_t capacity = 0;     // bytes; multiple of kPageSize
  std::uint32_t sector_size = 0;  // size of a log block: 512 or 4096
  Uuid uuid;                      // magic of the log blocks
  std::uint64_t generation = 0;
  std::string name;  // "mlog 0x201 of pool p": for messages
  // The content found at open was flushed before: none of it is only in the device's cache.
  bool flushed = false;
};

enum class CompactionSemantics {
  off,  // markers in the log are corruption
  on,   // a non-empty log starts with CSTART and has exactly one CEND
};

enum class OnDamage {
  refuse,  // throw; write nothing
  report,  // continue with the readable part, for inspection only
};

// A position between two records (before the chunk at `offset` of block `block`). Ordered by
// position in the log.
struct MlogPosition {
  std::uint32_t block = 0;
  std::uint32_t offset = 0;  // bytes from the start of the block; 0 = before its first record
  auto operator<=>(const MlogPosition&) const = default;
};

class MlogReader;

// An open log.
//
// Threads: all functions may be called at the same time, except reset(), which needs exclusive
// access.
// Durability: append() puts a record in memory, where readers see it at once; sync() makes it
// durable. Syncs requested during a sync share the next one. The buffer is written (not made
// durable) automatically when it holds kFlushSetSize bytes. A flush set is written only when the
// one before it is durable: open() relies on that to distinguish damage from an interrupted flush
// (engine/mlog/README.md, "Flush sets"). Content found by open() counts as written, not as durable.
// A failed write or flush makes the log unusable for appending (EIO) until it is reopened; reading
// continues. Exception: without compaction semantics, a write without room on the device throws
// ENOSPC, and the next write or sync retries it; only if it cut a record in two, the log is
// unusable.
class Mlog {
 public:
  static constexpr std::size_t kFlushSetSize = 1u << 20;  // maximum size of one flush set

  // Reads and validates the whole log. Errors: ENODATA when it is damaged (the message says where
  // and how), EMSGSIZE with compaction semantics when a compaction did not finish, EIO and others
  // from the device.
  //
  // With OnDamage::report a damaged log is opened as far as it can be read: opened() describes the
  // damage, appends throw EIO. A log with an unfinished compaction is opened, too, and accepts
  // appends.
  static std::unique_ptr<Mlog> open(const MlogLocation& location, CompactionSemantics semantics,
                                    OnDamage on_damage = OnDamage::refuse);
  ~Mlog();

  // A point in the sequence of appends; greater = later. For sync().
  using Ticket = std::uint64_t;

  // Appends one record, the concatenation of `parts` (0 bytes in all is legal, at most 2^32 - 1).
  // All or nothing: EFBIG when the log has no room for it. EIO after a failed flush.
  Ticket append(std::span<const ConstByteSpan> parts);
  Ticket append(ConstByteSpan record) { return append(std::span(&record, 1)); }
  // Appends CSTART or CEND (MDC only; compaction semantics).
  Ticket append_compaction_start();
  Ticket append_compaction_end();

  // Returns when everything up to `ticket` is durable; EIO when that failed.
  void sync(Ticket ticket);
  // The same for everything appended before the call.
  void sync();

  // sync() in two steps, so that several logs share a flush of their device. write() hands
  // everything up to `ticket` to the device; nullopt when it is durable already. After the caller
  // flushed the device, flushed() marks the written data durable.
  struct Written {
    Device* device;  // to be flushed
    Ticket ticket;
    std::uint32_t flush_set;
  };
  std::optional<Written> write(Ticket ticket);
  void flushed(const Written& written);

  // Discards the content and starts over as an empty log of a greater generation. The caller must
  // have made the generation durable in the owning MDC; discarding the zones is also the caller's
  // task.
  void reset(std::uint64_t generation);

  bool empty() const;  // no record and no marker
  std::uint64_t generation() const;
  const std::string& name() const;
  std::string begin() const;            // "byte 3145728 of /dev/sdb", where its first block is
  std::uint64_t capacity() const;       // bytes, headers included
  std::uint64_t used() const;           // bytes of the blocks written or begun
  std::uint64_t record_count() const;   // data records, markers not counted
  std::uint64_t payload_bytes() const;  // sum of the data records' lengths
  // True when a record of `length` bytes fits now.
  bool fits(std::uint64_t length) const;

  // The state of the log in the terms of the reference pools' manifests. A partly filled last block
  // of this session counts as not written: the next flush writes it again. Just after open(): all
  // blocks of the log.
  struct Stats {
    std::uint32_t blocks = 0;          // blocks before the first that the next flush writes
    std::uint32_t last_flush_set = 0;  // current id of the last of them (0: none): "pfsetid"
    std::uint32_t next_flush_set = 1;  // the id of the next flush: "cfsetid"
    bool has_compaction_start = false;
    bool has_compaction_end = false;
  };
  Stats stats() const;

  // What open() found besides the records.
  struct OpenInfo {
    // Not empty: a block is damaged, and the log was opened up to it. Names the block, the location
    // and the evidence.
    std::string damage;
    // Blocks of this log and generation lie past its end: an interrupted flush leaves such blocks.
    bool torn_blocks = false;
    bool records_after_compaction_end = false;
  };
  const OpenInfo& opened() const;

  // The end of the log that the next open() finds if nothing is appended any more. It covers all
  // written data, that is everything that sync() was called for.
  struct End {
    std::uint32_t blocks = 0;
    std::uint32_t flush_set = 0;  // current id of the last block; 0: the log is empty
    bool operator==(const End&) const = default;
  };
  End end() const;

 private:
  friend class MlogReader;
  struct Impl;
  explicit Mlog(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Reads the data records of a log in order, without markers, including records that are not durable
// yet. Several readers may be used at a time, each by one thread. A reader sees records appended
// after it reached the end. It must not outlive the Mlog; after reset() it must be rewound (next()
// may throw ESTALE until then).
class MlogReader {
 public:
  explicit MlogReader(const Mlog& log);
  MlogReader(MlogReader&& other) noexcept;
  ~MlogReader();

  // Reads the next record into `record` (resized); false at the end. Errors: ENODATA on corruption,
  // EIO.
  bool next(std::vector<std::byte>& record);
  // The same into memory of the caller; nullopt at the end, otherwise the record's length.
  // EOVERFLOW when the memory is smaller than the record (the message has the needed length; the
  // record can be read again).
  std::optional<std::size_t> next(ByteSpan into);
  // Passes over the next record and returns its length; nullopt at the end. Errors as next().
  std::optional<std::size_t> skip();

  // The position before the record that next() will return.
  MlogPosition position() const;
  // Goes to a position that position() returned for this log and generation. EINVAL for an
  // impossible position.
  void seek(MlogPosition position);
  void rewind() { seek({}); }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mpool

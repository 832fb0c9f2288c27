// Writing and reading mblocks (engine/object/README.md, "mblocks").
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "engine/base/aligned_buffer.h"
#include "engine/object/deferred_write.h"
#include "engine/object/range_set.h"
#include "engine/pool/pool.h"

namespace mpool {

// An mblock that is allocated and being written. The destructor aborts it unless it was released
// (by commit).
//
// Pages may be written in any order, and again until finish(): the file system permits writes in
// any order, and buffering early data would take unbounded memory. finish() fills gaps below the
// written length with zeros.
// Content without gaps can be committed in steps: after seal() pages behind it follow, and a page
// below may be written again as long as the bytes in use stay the same.
//
// Threads: write() (or its halves) and read() may be called at the same time for different pages;
// is_committed() and release() belong to the thread that commits; all other functions need
// exclusive access. No lock is held during I/O.
class MblockWriter {
 public:
  // Allocates. ENOSPC and others as Pool::allocate.
  MblockWriter(Pool& pool, const Placement& placement);
  ~MblockWriter();
  MblockWriter(const MblockWriter&) = delete;
  MblockWriter& operator=(const MblockWriter&) = delete;

  ObjectId id() const { return object_.id; }
  std::uint64_t first_zone() const { return object_.layout.first_zone; }
  std::uint64_t capacity() const { return capacity_; }
  // The location of its first byte on device().
  std::uint64_t device_offset() const { return pool_.offset_of(object_); }

  // Writes whole pages at a page-aligned offset. EINVAL when the range is not aligned or not inside
  // the capacity; EIO and others from the device.
  void write(std::uint64_t offset, ConstByteSpan pages);
  // The two halves of write() for a caller that transfers the pages asynchronously: the destination
  // on device() (errors as write(), except those of the device), and the completion. Between the
  // two the writer must not be finished. Non-blocking.
  Device& device() const;
  std::uint64_t place(std::uint64_t offset, std::size_t length) const;
  void wrote(std::uint64_t offset, std::size_t length);
  // As write(), but the pages may stay in memory until deferred()->write_out(). The owner calls
  // that before it flushes the device and before any read of the pages. Once, after all writes.
  void defer(std::uint64_t offset, AlignedBuffer pages);
  // The same without I/O: returns false, and does not touch `pages`, when too much is deferred
  // already.
  bool try_defer(std::uint64_t offset, AlignedBuffer& pages);
  // Null: nothing is deferred.
  const std::shared_ptr<DeferredWrite>& deferred() const { return deferred_; }
  // True if all of these bytes were written.
  bool has(std::uint64_t offset, std::uint64_t length) const;
  // Reads back whole pages that were written.
  void read(std::uint64_t offset, ByteSpan pages) const;
  // Marks the pages from there on as not written, except those below a seal().
  void forget_from(std::uint64_t offset);

  // True if all pages below the last one were written.
  bool is_gapless() const;
  // The object with what was written so far, which must be gapless, for Pool::commit or
  // Pool::extend; the caller flushes the device first. Writing goes on.
  ObjectRecord seal();
  // Fills the gaps and fixes the written length. Returns the object for Pool::commit or
  // Pool::extend; the caller flushes the device first (several mblocks share both calls). No writes
  // are allowed afterwards.
  const ObjectRecord& finish();
  // The object was committed: the destructor must not abort it.
  void release() { released_ = true; }
  bool is_committed() const { return released_; }

 private:
  Pool& pool_;
  ObjectRecord object_;
  std::uint64_t capacity_;
  mutable std::mutex mutex_;         // guards written_, sealed_length_ and finished_
  RangeSet written_;                 // bytes
  std::uint64_t sealed_length_ = 0;  // bytes, of the last seal()
  std::shared_ptr<DeferredWrite> deferred_;
  bool finished_ = false;
  bool released_ = false;
};

// An mblock with content that is to be recorded, as of a seal: the writer may go on meanwhile.
struct SealedMblock {
  std::shared_ptr<MblockWriter> writer;
  ObjectRecord object;                      // not durable
  std::shared_ptr<DeferredWrite> deferred;  // as MblockWriter::deferred()
  bool extended = false;  // there was a seal before: the object may be committed already
};

// Reads from a committed mblock into memory of the caller, at any offset and length inside the
// written length (EINVAL outside it; EIO without its device). Ranges that are not page-aligned use
// a bounce buffer. Thread-safe.
void read_mblock(const Pool& pool, const ObjectRecord& mblock, std::uint64_t offset, ByteSpan into);

// Reads any bytes of a device; ranges that are not page-aligned use a bounce buffer.
void read_bytes(Device& device, std::uint64_t offset, ByteSpan into);

// Writes, flushes and commits a whole mblock from memory (tests, tools): returns its id.
ObjectId store_mblock(Pool& pool, const Placement& placement, ConstByteSpan content);

}  // namespace mpool

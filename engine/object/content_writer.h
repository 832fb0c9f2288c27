// The content of one write-once file while it is being written (engine/object/README.md, "Content
// of a write-once file").
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "engine/base/write_memory.h"
#include "engine/object/mblock.h"
#include "engine/object/pack.h"
#include "engine/object/range_set.h"

namespace mpool {

// `length` bytes of a file from `file_offset` on lie in `object` from byte `position` on. Ranges
// that no extent covers read as zeros.
struct Extent {
  std::uint64_t file_offset = 0;
  ObjectId object;
  std::uint64_t position = 0;
  std::uint64_t length = 0;
  bool operator==(const Extent&) const = default;
};

class ContentWriter;

// What the caller of a write prefers for small writes.
enum class Buffering : std::uint8_t {
  memory,  // there bytes can be overwritten
  device,  // for whole pages out of order, except in the first piece of the file (O_DIRECT)
};

// The result of a non-blocking write (ContentWriter::start_write).
struct StartedWrite {
  enum class Kind : std::uint8_t {
    must_wait,  // nothing was taken: call write() where blocking is allowed
    done,       // taken
    // Taken: the caller writes `memory` to `offset` of `device`, then calls end_write(). `memory`
    // is the given data, a part of it, or memory owned by this object (the object may be moved).
    transfer,
  };
  StartedWrite() = default;
  explicit StartedWrite(Kind what) : kind(what) {}

  Kind kind = Kind::must_wait;
  Device* device = nullptr;
  std::uint64_t offset = 0;  // bytes on the device, a multiple of kPageSize
  ConstByteSpan memory;      // whole pages, aligned to kPageSize

  // Private to the writer:
  std::shared_ptr<ContentWriter> writer;  // set by users that share it: keeps it until the end
  MblockWriter* mblock = nullptr;
  std::uint64_t file_offset = 0;  // bytes: position of `memory` in the file
  std::uint64_t position = 0;     // and in the mblock
  AlignedBuffer gathered;         // not empty: `memory` lies in it
};

// ContentWriter::end_write() of the writer in `write`. `write` may hold the last reference to it:
// meanwhile the file may be closed, or written by another writer. On any thread.
void end_write(StartedWrite& write, int error) noexcept;

// Takes bytes in any order and distributes the file over mblocks: byte o of the file goes to byte o
// % zone size of mblock o / zone size, except after some seals. Small and unaligned writes stay in
// memory until the seal, as far as WriteMemory and its tunables allow; other data goes straight to
// the device. With a PackRoom all of a small file stays in memory, and its first seal puts it into
// a pack instead of mblocks. Bytes that never left the memory can be written again.
//
// Threads: write(), read(), declare_length() and length() may be called at the same time, and
// writes of different threads reach the device in parallel. drain(), seal(), truncate() and
// discard() block until reads and writes in progress end; reads and writes that arrive meanwhile
// block on them.
// Errors: the first failure of a write (ENOSPC, EIO) is sticky: every later read, write, drain and
// seal throws it again, until discard().
class ContentWriter {
 public:
  // Makes an mblock: Pool::allocate with the owner's handling of ENOSPC. `near`: the zone after the
  // file's last one.
  // Called without locks, by several threads at a time.
  using Allocate = std::function<std::unique_ptr<MblockWriter>(std::optional<std::uint64_t> near)>;
  // zone_size: bytes, a multiple of kPageSize (EINVAL otherwise); the capacity of every mblock is
  // at least that. `memory` must outlive the writer.
  // `pack`: null, no content goes into a pack.
  ContentWriter(std::uint64_t zone_size, Allocate allocate, WriteMemory& memory,
                std::unique_ptr<PackRoom> pack = nullptr);
  ~ContentWriter();  // aborts unsealed mblocks

  // EINVAL when a byte of the range was on the device before (nothing is then written); EFBIG
  // beyond 2^63 - 1; ENOSPC when there is no room for the range, even if it is only held in memory.
  void write(std::uint64_t offset, ConstByteSpan data, Buffering buffering = Buffering::memory);
  // Reads the content written so far, sealed or not, and zeros in gaps. Returns the number of
  // bytes: fewer only at length(). Blocks on writes of the same pages in progress.
  std::size_t read(std::uint64_t offset, ByteSpan into);
  // write() that blocks neither on the device nor on an allocation or another thread's I/O. Data
  // that would block is not taken at all (must_wait: the first bytes of a zone, a drain or seal in
  // progress, pages that must be read back, lack of memory, ...). Throws as write(), with nothing
  // taken.
  // The caller transfers page-aligned data (aligned in memory, too) of direct_size and more, and
  // whole pages out of order for which there is no memory or Buffering::device. Other data is held
  // in memory; if a piece of the file must leave the memory for it, that piece is the transfer.
  StartedWrite start_write(std::uint64_t offset, ConstByteSpan data,
                           Buffering buffering = Buffering::memory);
  // Allocates the mblocks for the range, so that writes to it do not fail for lack of room. ENOSPC,
  // with nothing changed, when there is no room for all of it. A seal that is not the last one
  // keeps unused mblocks.
  void set_aside(std::uint64_t offset, std::uint64_t length);
  // Called once for every start_write() that returned `transfer`, on any thread: its outcome, 0 or
  // an errno, which is sticky as for write(). drain, seal and discard block until then.
  // Non-blocking.
  void end_write(StartedWrite& write, int error) noexcept;
  // Makes the file at least this long; missing bytes read as zeros. EFBIG beyond 2^63 - 1.
  void declare_length(std::uint64_t length);
  // Ends the file here and removes the content behind it. Cut bytes that were on the device cannot
  // be written again. A greater length is declared. The owner trims the sealed extents that it was
  // given.
  void truncate(std::uint64_t length);
  // The greater of the written and the declared length.
  std::uint64_t length() const;

  // Writes out everything in memory and keeps it there; except the end of a small file, which
  // seal() may defer.
  void drain();
  // True if drain() would do nothing and not block. Throws as drain().
  bool is_drained() const;

  struct Sealed {
    std::uint64_t length = 0;     // length() at that time
    std::vector<Extent> extents;  // new ones, in order of file_offset
    // The owner flushes the device, then commits new ones with Pool::commit and releases them, and
    // makes the others longer with Pool::extend.
    std::vector<SealedMblock> mblocks;
    // The owner writes and flushes it before it records the extent in it.
    PackRoom::Packed packed = {};
  };
  // Writes everything so far to the device, incomplete pages filled with zeros. `last`: no more
  // writes follow, its mblocks are finished (gaps inside an mblock become part of its extent);
  // otherwise writing goes on in the same mblocks, except in those with gaps, which are finished.
  Sealed seal(bool last);
  // seal(true), but up to defer_size bytes at the end of the file may stay in memory: the owner
  // writes them out (MblockWriter::deferred).
  Sealed seal_deferring();
  // As seal_deferring(), but without blocking and without I/O: for a file that can stay in memory
  // completely. Returns nullopt and does nothing for other files, and where it would block.
  std::optional<Sealed> try_seal();

  // Discards everything that was not sealed, the declared length, and the sticky error; every
  // unsealed byte can be written again.
  void discard();
  // The mblocks of the last seal are released: reading sealed content then fails with EIO. No
  // read() may be in progress.
  void forget_sealed();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace mpool

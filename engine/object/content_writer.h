// The content of one write-once file while it is being written (engine/object/README.md, "Content
// of a write-once file").
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/object/mblock.h"
#include "engine/object/range_set.h"
#include "engine/object/write_memory.h"

namespace mpool {

// `length` bytes of a file from `file_offset` on lie in `object` from byte `position` on. What no
// extent covers reads as zeros.
struct Extent {
  std::uint64_t file_offset = 0;
  ObjectId object;
  std::uint64_t position = 0;
  std::uint64_t length = 0;
  bool operator==(const Extent&) const = default;
};

class ContentWriter;

// What became of a write that must not wait (ContentWriter::start_write).
struct StartedWrite {
  enum class Kind : std::uint8_t {
    must_wait,  // nothing was taken: call write() where waiting is allowed
    done,       // taken
    // Taken: the caller writes `memory` to `offset` of `device` and calls end_write() then.
    // `memory` is the data that was given, a part of it, or memory that this object owns (it may be
    // moved).
    transfer,
  };
  StartedWrite() = default;
  explicit StartedWrite(Kind what) : kind(what) {}

  Kind kind = Kind::must_wait;
  Device* device = nullptr;
  std::uint64_t offset = 0;  // bytes on the device, a multiple of kPageSize
  ConstByteSpan memory;      // whole pages, aligned to kPageSize

  // Of the writer, not of the caller:
  std::shared_ptr<ContentWriter> writer;  // set by those who share it: keeps it until the end
  MblockWriter* mblock = nullptr;
  std::uint64_t file_offset = 0;  // bytes: where `memory` goes in the file
  std::uint64_t position = 0;     // and in the mblock
  AlignedBuffer gathered;         // not empty: `memory` lies in it
};

// ContentWriter::end_write() of the writer that `write` carries, which may be the last to have it:
// the file it came by may be closed, or written by another writer since. On any thread.
void end_write(StartedWrite& write, int error) noexcept;

// Takes bytes in any order and spreads the file over mblocks: byte o of the file goes to byte
// o % zone size of mblock o / zone size, except after seal(). Small and unaligned writes stay in
// memory, as far as WriteMemory allows, until the seal; the rest goes straight to the device. Bytes
// that never left the memory can be written again.
//
// Threads: write(), read(), declare_length() and length() may be called at the same time, and
// writes of different threads reach the device in parallel; drain(), seal(), truncate() and
// discard() wait for the reads and writes under way, and those that come meanwhile wait for them.
// Errors: the first failure of a write (ENOSPC, EIO) is kept: every later read, write, drain and
// seal throws it again, until discard().
class ContentWriter {
 public:
  static constexpr std::size_t kDeferSize = 64u << 10;  // bytes

  // Makes an mblock: Pool::allocate with whatever the owner does about ENOSPC. `near`: the zone
  // after the file's last one.
  // Called without locks, by several threads at a time.
  using Allocate = std::function<std::unique_ptr<MblockWriter>(std::optional<std::uint64_t> near)>;
  // zone_size: bytes, a multiple of kPageSize (EINVAL otherwise); the capacity of every mblock is
  // at least that. `memory` outlives it.
  ContentWriter(std::uint64_t zone_size, Allocate allocate,
                WriteMemory& memory = WriteMemory::shared());
  ~ContentWriter();  // aborts what was not sealed

  // EINVAL when a byte of the range was on the device before (nothing is written then); EFBIG
  // beyond 2^63 - 1; ENOSPC when there is no room for the range, also where it is only held in
  // memory.
  void write(std::uint64_t offset, ConstByteSpan data);
  // Reads what was written so far, sealed or not, and zeros where nothing was. Returns how many
  // bytes: fewer only at length(). Waits for writes of the same pages that are under way.
  std::size_t read(std::uint64_t offset, ByteSpan into);
  // write() without waiting for the device, an allocation or another thread's I/O: what cannot be
  // taken so is not taken at all (must_wait: the first bytes of a zone, a drain or seal under way,
  // pages that have to be read back, memory that is short, ...). Throws as write(), with nothing
  // taken. Page-aligned data (in memory, too) of 128 KiB and more, or that comes in no order and
  // for which there is no room, is for the caller to transfer; other data is held in memory, and a
  // piece of the file that has to leave for it is the transfer.
  StartedWrite start_write(std::uint64_t offset, ConstByteSpan data);
  // Makes room for a write of these bytes, so that start_write() need not wait for an allocation.
  // Errors as write(). What is not used goes back at the next seal().
  void reserve(std::uint64_t offset, std::size_t length);
  // Allocates the mblocks for the range, so that writes to it do not fail for want of room. ENOSPC,
  // with nothing changed, when there is none for all of it. A seal that is not the last one keeps
  // those that nothing was written to.
  void set_aside(std::uint64_t offset, std::uint64_t length);
  // Once for every start_write() that said `transfer`, on any thread: its outcome, 0 or an errno,
  // which is kept as those of write(). Until then drain, seal and discard wait. Waits for nothing.
  void end_write(StartedWrite& write, int error) noexcept;
  // The file is to be at least this long; the missing bytes read as zeros. EFBIG beyond 2^63 - 1.
  void declare_length(std::uint64_t length);
  // The file ends here: what was written behind it goes. Bytes that were cut off when they were on
  // the device cannot be written again. A greater length is declared. The owner trims what it was
  // given of sealed extents.
  void truncate(std::uint64_t length);
  // The greater of what was written and what was declared.
  std::uint64_t length() const;

  // Writes out everything in memory, which stays there, too; but for the end of a small file, which
  // seal() may defer.
  void drain();
  // Whether drain() would do nothing, and wait for nothing. Throws as drain().
  bool is_drained() const;

  struct Sealed {
    std::uint64_t length = 0;     // length() then
    std::vector<Extent> extents;  // new ones, in order of file_offset
    // Finished (finish() gives the record once more), not committed: the owner flushes the device,
    // commits them with Pool::commit, and releases them.
    std::vector<std::unique_ptr<MblockWriter>> mblocks;
  };
  // Everything written so far goes to the device, incomplete pages filled with zeros, and its
  // mblocks are finished. `last`: nothing will be written any more (gaps inside an mblock become
  // part of its extent); otherwise writing goes on in further mblocks.
  Sealed seal(bool last);
  // seal(true), but up to kDeferSize bytes at the end of the file may stay in memory: for the owner
  // to write out (MblockWriter::deferred).
  Sealed seal_deferring();
  // The same without waiting and without I/O: of a file all of which can stay in memory. Nullopt,
  // and nothing done, where that is not so, or not possible now.
  std::optional<Sealed> seal_now();

  // Forgets everything that was not sealed, the declared length, and a failure kept; every byte not
  // sealed can be written again.
  void discard();
  // The mblocks of the last seal are given up: reading what was sealed fails with EIO. No read()
  // may be under way.
  void forget_places();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace mpool

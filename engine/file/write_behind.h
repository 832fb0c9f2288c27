// Writes that were answered before their data reached the device.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "engine/file/accounted_memory.h"
#include "engine/io/transfer.h"
#include "engine/object/content_writer.h"

namespace mpool {

// Starts the transfer of a write on the ring. Throws Error when it cannot be started; the write has
// then been ended.
void begin_transfer(IoRing& ring, DeviceTransfer& transfer, StartedWrite& write);

// A single sequential writer (cp, dd, cat) leaves the device idle between its writes, and idles
// itself during the I/O. Therefore the data is copied and the write is answered at once. A failure
// is sticky: it is returned by later writes, fsync and close, which wait for the transfers of their
// file (as with the page cache of other file systems). O_DIRECT makes no difference: before its
// commit, no content of a write-once file survives a crash anyway.
//
// Bounded by Tunables::WriteBehind, regardless of the number of files.
//
// Threads: those of one ring.
class WriteBehind {
 public:
  // `ring` and `budget` must outlive it.
  WriteBehind(IoRing& ring, WriteMemory& budget, const Tunables::WriteBehind& tunables = {});
  ~WriteBehind();
  WriteBehind(const WriteBehind&) = delete;
  WriteBehind& operator=(const WriteBehind&) = delete;

  // Takes over the transfer of ContentWriter::start_write(), with its data. Returns false without
  // room for it, or with `most` transfers in progress. The file may be closed meanwhile. Throws as
  // begin_transfer().
  bool take(StartedWrite& write, std::size_t most = SIZE_MAX);

  // Transfers in progress.
  std::size_t pending() const noexcept { return pending_; }
  // The ring completes no more operations: transfers in progress have failed with `error`.
  void abandon(int error) noexcept;
  // Frees memory when no transfer is in progress.
  void trim() noexcept;

 private:
  struct Slot;

  const Tunables::WriteBehind tunables_;
  IoRing& ring_;
  AccountedMemory memory_;  // of all slots, allocated on first use
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_;
  std::size_t pending_ = 0;
};

}  // namespace mpool

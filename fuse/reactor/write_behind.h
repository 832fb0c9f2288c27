// Writes that were answered before their data reached the device.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "engine/base/huge_memory.h"
#include "engine/device/transfer.h"
#include "engine/object/content_writer.h"

namespace mpoolfs {

// One writer at a time (cp, dd, cat) would leave the device idle between its writes, and itself
// while the device works. So the data is copied, the writer goes on, and what fails is told by
// later writes, fsync and close, which wait for the transfers of their file (as with the page cache
// of other file systems). O_DIRECT makes no difference: until its commit nothing of a write-once
// file is to be found after a crash anyway.
//
// Bounded: at most kPlaces transfers of kMaxSize bytes, whatever the number of files.
//
// Threads: those of one ring.
class WriteBehind {
 public:
  static constexpr std::size_t kPlaces = 8;
  // The same while others read from the device: each of their reads waits for what is queued before
  // it.
  static constexpr std::size_t kPlacesBesideReaders = 1;
  static constexpr std::size_t kMaxSize = 1u << 20;  // bytes

  explicit WriteBehind(mpool::IoRing& ring);
  ~WriteBehind();
  WriteBehind(const WriteBehind&) = delete;
  WriteBehind& operator=(const WriteBehind&) = delete;

  // Takes over the transfer that OpenFile::start_write() said, with its data; false when it has no
  // room for it, or `most` transfers under way. The file may be closed meanwhile. Throws Error when
  // the transfer cannot be started: it has been ended then.
  bool take(mpool::StartedWrite& write, std::size_t most = kPlaces);

  // Transfers under way.
  std::size_t pending() const noexcept { return pending_; }
  // The ring completes nothing any more: what is under way has failed with `error`.
  void abandon(int error) noexcept;
  // Gives memory back when none is.
  void trim() noexcept;

 private:
  struct Place;

  bool have_memory() noexcept;

  mpool::IoRing& ring_;
  mpool::HugeMemory memory_;  // of all places, made when it is needed first
  std::vector<std::unique_ptr<Place>> places_;
  std::vector<Place*> free_;
  std::size_t pending_ = 0;
};

}  // namespace mpoolfs

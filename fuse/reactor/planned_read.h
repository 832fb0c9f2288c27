// The device I/O of a read that was planned.
#pragma once

#include <array>
#include <cstddef>

#include "engine/base/bytes.h"
#include "engine/device/io_ring.h"
#include "engine/device/transfer.h"
#include "engine/names/names.h"

namespace mpoolfs {

// All transfers of a plan at a time. It must stay where it is, as must the memory, until done() is
// called, and can be used again from then on, in done() already.
//
// Threads: the ring's.
class PlannedRead {
 public:
  PlannedRead();
  PlannedRead(const PlannedRead&) = delete;
  PlannedRead& operator=(const PlannedRead&) = delete;

  // Starts what is planned (at least one transfer) into `memory`, which is that of the plan. Throws
  // Error when nothing can be started: done() is not called then.
  void start(mpool::IoRing& ring, const mpool::ReadPlan& plan, mpool::ByteSpan memory);
  bool under_way() const noexcept { return pending_ > 0; }

 protected:
  ~PlannedRead() = default;

  // Everything is there (0), or the errno of the first failure. Called once for each start(), from
  // IoRing::run_completions().
  virtual void done(int error) noexcept = 0;

 private:
  struct Part final : mpool::DeviceTransfer {
    void done(int error) noexcept override { read->part_done(error); }
    PlannedRead* read = nullptr;
  };

  void part_done(int error) noexcept;

  std::array<Part, mpool::ReadPlan::kMaxTransfers> parts_;
  std::size_t pending_ = 0;  // parts under way
  int error_ = 0;            // of the first part that failed
};

}  // namespace mpoolfs

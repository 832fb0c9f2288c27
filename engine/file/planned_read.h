// The device I/O of a planned read.
#pragma once

#include <array>
#include <cstddef>

#include "engine/base/bytes.h"
#include "engine/file/read_plan.h"
#include "engine/io/io_ring.h"
#include "engine/io/transfer.h"

namespace mpool {

// Performs all transfers of one plan at a time. This object and the memory must not move until
// done() is called; it can be reused from then on, even in done().
//
// Threads: the ring's.
class PlannedRead {
 public:
  PlannedRead();
  PlannedRead(const PlannedRead&) = delete;
  PlannedRead& operator=(const PlannedRead&) = delete;

  // Starts the plan (at least one transfer) into `memory`, the memory of the plan. Throws Error
  // when no transfer can be started: done() is then not called.
  void start(IoRing& ring, const ReadPlan& plan, ByteSpan memory);

 protected:
  ~PlannedRead() = default;

  // error: 0 when all data is present, or the errno of the first failure. Called once for each
  // start(), from IoRing::run_completions().
  virtual void done(int error) noexcept = 0;

 private:
  struct Part final : DeviceTransfer {
    void done(int error) noexcept override { read->part_done(error); }
    PlannedRead* read = nullptr;
  };

  void part_done(int error) noexcept;

  std::array<Part, ReadPlan::kMaxTransfers> parts_;
  std::size_t pending_ = 0;  // transfers in progress
  int error_ = 0;            // of the first failed transfer
};

}  // namespace mpool

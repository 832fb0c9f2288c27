// What the asynchronous read of an open file transfers, and its device I/O (engine/file/README.md).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/base/bytes.h"
#include "engine/io/io_ring.h"
#include "engine/io/transfer.h"

namespace mpool {

// Transfers that together give the result of a read.
struct ReadPlan {
  static constexpr std::size_t kMaxTransfers = 8;
  // Whole pages: all fields are multiples of kPageSize.
  struct Transfer {
    Device* device;
    std::uint64_t offset;  // bytes on the device
    std::size_t at;        // bytes from the start of the memory
    std::size_t length;    // bytes
  };
  std::size_t length = 0;  // bytes: the result of the read
  std::size_t count = 0;   // 0: no transfer
  std::array<Transfer, kMaxTransfers> transfers;
};

// A file whose reads can be planned.
//
// Threads: all functions may be called at the same time.
class ReadSource {
 public:
  // Different for files with different content, and never reused: an inode number.
  virtual std::uint64_t source_id() const noexcept = 0;
  // Plans the read of `length` bytes at `offset` without blocking and without I/O. `memory` is
  // aligned to kPageSize; its size is a multiple of kPageSize and not less than `length`. The
  // transfers, made in any order, fill [0, plan.length) of the memory, except gaps of the file,
  // which this call zeroes, and may touch the rest of the page in which plan.length lies.
  // Returns false (plan and memory are undefined) where planning is not possible. Errors: as the
  // read.
  virtual bool plan_read(std::uint64_t offset, std::size_t length, ByteSpan memory,
                         ReadPlan& plan) = 0;

 protected:
  ReadSource() = default;
  ReadSource(const ReadSource&) = default;
  ReadSource& operator=(const ReadSource&) = default;
  ~ReadSource() = default;
};

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

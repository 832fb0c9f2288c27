#include "engine/file/read_plan.h"

#include "engine/base/error.h"
#include "engine/io/device.h"

namespace mpool {

PlannedRead::PlannedRead() {
  for (Part& part : parts_)
    part.read = this;
}

void PlannedRead::start(IoRing& ring, const ReadPlan& plan, ByteSpan memory) {
  error_ = 0;
  pending_ = 0;
  for (std::size_t i = 0; i < plan.count && error_ == 0; ++i) {
    const ReadPlan::Transfer& transfer = plan.transfers[i];
    try {
      transfer.device->start_read(ring, parts_[i], transfer.offset,
                                  memory.subspan(transfer.at, transfer.length));
      ++pending_;
    } catch (const Error& error) {
      if (pending_ == 0) throw;
      error_ = error.code();
    }
  }
}

void PlannedRead::part_done(int error) noexcept {
  if (error_ == 0) error_ = error;
  if (--pending_ == 0) done(error_);
}

}  // namespace mpool

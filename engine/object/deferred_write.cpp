#include "engine/object/deferred_write.h"

#include <utility>

namespace mpool {

std::shared_ptr<DeferredWrite> DeferredWrite::make(WriteMemory& memory, Device& device,
                                                   std::uint64_t offset, AlignedBuffer& pages) {
  // close() has reported success: there must be room when the file is written.
  if (!device.room_is_certain()) return nullptr;
  if (!memory.try_defer(pages.size())) return nullptr;
  return std::shared_ptr<DeferredWrite>(
      new DeferredWrite(memory, device, offset, std::move(pages)));
}

DeferredWrite::DeferredWrite(WriteMemory& memory, Device& device, std::uint64_t offset,
                             AlignedBuffer pages)
    : memory_(memory), device_(device), offset_(offset), pages_(std::move(pages)) {}

DeferredWrite::~DeferredWrite() {
  release();
}

void DeferredWrite::release() noexcept {
  if (pages_.empty()) return;
  memory_.end_deferral(pages_.size());
  pages_ = {};
}

void DeferredWrite::write_out() {
  const std::lock_guard lock(mutex_);
  if (pages_.empty()) return;
  device_.write(offset_, pages_.span());
  release();
  done_.store(true, std::memory_order_release);
}

}  // namespace mpool

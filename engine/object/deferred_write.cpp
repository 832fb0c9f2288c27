#include "engine/object/deferred_write.h"

#include <utility>

namespace mpool {

namespace {

std::atomic<std::size_t> deferred_bytes = 0;

}  // namespace

std::shared_ptr<DeferredWrite> DeferredWrite::make(Device& device, std::uint64_t offset,
                                                   AlignedBuffer& pages) {
  // close() has reported success: there must be room when the file is written.
  if (!device.room_is_certain()) return nullptr;
  const std::size_t size = pages.size();
  if (deferred_bytes.fetch_add(size) + size > kMaxBytes) {
    deferred_bytes -= size;
    return nullptr;
  }
  return std::shared_ptr<DeferredWrite>(new DeferredWrite(device, offset, std::move(pages)));
}

DeferredWrite::DeferredWrite(Device& device, std::uint64_t offset, AlignedBuffer pages)
    : device_(device), offset_(offset), pages_(std::move(pages)) {}

DeferredWrite::~DeferredWrite() {
  release();
}

void DeferredWrite::release() noexcept {
  deferred_bytes -= pages_.size();
  pages_ = {};
}

void DeferredWrite::write_out() {
  const std::lock_guard lock(mutex_);
  if (pages_.empty()) return;
  device_.write(offset_, pages_.span());
  release();
  done_.store(true, std::memory_order_release);
}

bool DeferredWrite::above_threshold() {
  return deferred_bytes >= kWriteOutThreshold;
}

}  // namespace mpool

// The MDCs of a pool by number. Internal to engine/pool.
#pragma once

#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <memory>

#include "engine/format/object_id.h"
#include "engine/pool/mdc_slot.h"

namespace mpool {

// MDC0..size()-1; an MDC is never removed or moved.
//
// Threads: one thread at a time may add; other threads may read the MDCs added so far, without a
// lock. An MDC is complete when it is added to an active pool.
class SlotList {
 public:
  using Slots = std::array<std::unique_ptr<MdcSlot>, std::size_t{kMaxMdcs} + 1>;

  std::size_t size() const { return size_.load(std::memory_order_acquire); }
  const std::unique_ptr<MdcSlot>& operator[](std::size_t slot) const {
    assert(slot < size());
    return slots_[slot];
  }
  const std::unique_ptr<MdcSlot>& front() const { return (*this)[0]; }
  // The MDCs that were present when end() was called.
  Slots::const_iterator begin() const { return slots_.begin(); }
  Slots::const_iterator end() const {
    return begin() + static_cast<Slots::difference_type>(size());
  }

  // Its number is size().
  MdcSlot& add(std::unique_ptr<MdcSlot> slot) {
    const std::size_t size = size_.load(std::memory_order_relaxed);
    assert(size < slots_.size() && slot->slot() == size);
    slots_[size] = std::move(slot);
    size_.store(size + 1, std::memory_order_release);
    return *slots_[size];
  }

 private:
  Slots slots_;
  std::atomic<std::size_t> size_ = 0;
};

}  // namespace mpool

// The end of a small file on its way to the device.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "engine/base/aligned_buffer.h"
#include "engine/base/write_memory.h"
#include "engine/io/device.h"

namespace mpool {

// Whole pages in memory, written to a device when they are needed there. A thread that writes small
// files does not block on the device; a thread that makes many of them durable writes them
// together.
//
// Threads: all functions may be called at the same time.
class DeferredWrite {
 public:
  // The device and the memory must outlive it. Returns null, and does not touch `pages`, when too
  // much is deferred already or the device may lack room later.
  static std::shared_ptr<DeferredWrite> make(WriteMemory& memory, Device& device,
                                             std::uint64_t offset, AlignedBuffer& pages);
  ~DeferredWrite();
  DeferredWrite(const DeferredWrite&) = delete;
  DeferredWrite& operator=(const DeferredWrite&) = delete;

  // Returns when the pages are written, by any thread. Throws Error of the device; the next call
  // retries.
  void write_out();
  // The pages are written. Non-blocking.
  bool done() const { return done_.load(std::memory_order_acquire); }

 private:
  DeferredWrite(WriteMemory& memory, Device& device, std::uint64_t offset, AlignedBuffer pages);
  void release() noexcept;

  WriteMemory& memory_;
  Device& device_;
  const std::uint64_t offset_;  // bytes on the device
  std::mutex mutex_;            // held while writing; guards pages_
  AlignedBuffer pages_;         // empty: written
  std::atomic<bool> done_ = false;
};

}  // namespace mpool

// The end of a small file on its way to the device.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "engine/base/aligned_buffer.h"
#include "engine/device/device.h"

namespace mpool {

// Whole pages in memory that go to a device when somebody needs them there: who writes small files
// does not wait for the device, and who makes many of them durable writes them together.
//
// Threads: all functions may be called at the same time.
class DeferredWrite {
 public:
  // The most bytes that are deferred at a time, of all files; and how many call for being written.
  static constexpr std::size_t kMaxBytes = 16u << 20;
  static constexpr std::size_t kManyBytes = 4u << 20;

  // The device outlives it. Null, and `pages` left alone, when too much is deferred already or the
  // device may have no room for it later.
  static std::shared_ptr<DeferredWrite> make(Device& device, std::uint64_t offset,
                                             AlignedBuffer& pages);
  ~DeferredWrite();
  DeferredWrite(const DeferredWrite&) = delete;
  DeferredWrite& operator=(const DeferredWrite&) = delete;

  // Returns when the pages are written, by whomever. Throws Error of the device; the next call
  // tries again.
  void write_out();
  // They are written. Waits for nothing.
  bool done() const { return done_.load(std::memory_order_acquire); }

  // kManyBytes are deferred, or more.
  static bool many();

 private:
  DeferredWrite(Device& device, std::uint64_t offset, AlignedBuffer pages);
  void release() noexcept;

  Device& device_;
  const std::uint64_t offset_;  // bytes on the device
  std::mutex mutex_;            // held while writing; guards pages_
  AlignedBuffer pages_;         // empty: written
  std::atomic<bool> done_ = false;
};

}  // namespace mpool

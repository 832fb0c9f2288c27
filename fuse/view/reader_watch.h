// Whether somebody reads the pool's files: by requests, or natively, which the kernel's counters of
// the devices tell.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/device/file_descriptor.h"

namespace mpoolfs {

// Threads: watch() before somebody_reads(); all others from any.
class ReaderWatch {
 public:
  // Block devices; those whose counters cannot be read are left out.
  void watch(const std::vector<std::string>& devices);

  // A READ request has come.
  void note_request() noexcept { requests_.fetch_add(1, std::memory_order_relaxed); }
  // How many have.
  std::uint64_t requests() const noexcept { return requests_.load(std::memory_order_relaxed); }

  // There were reads within the last hundredth of a second or two. Looks at the counters that often
  // at most, and waits for nothing.
  bool somebody_reads() noexcept;

 private:
  std::uint64_t reads() const noexcept;

  std::vector<mpool::FileDescriptor> counters_;
  std::atomic<std::uint64_t> requests_ = 0;
  std::atomic<std::int64_t> next_look_ = 0;  // nanoseconds of the steady clock
  std::atomic<std::uint64_t> reads_ = 0;
  std::atomic<bool> active_ = false;
};

}  // namespace mpoolfs

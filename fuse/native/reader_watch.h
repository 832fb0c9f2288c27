// Detects reads of the pool's files: by requests, or natively, from the kernel's counters of the
// devices.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "engine/base/metrics.h"
#include "engine/io/file_descriptor.h"

namespace mpoolfs {

// Threads: watch() before reads_active(); all other functions from any.
class ReaderWatch {
 public:
  // Both must outlive it.
  ReaderWatch(mpool::Clock& clock, mpool::Metrics& metrics);

  // Adds block devices; those with unreadable counters are omitted.
  void watch(const std::vector<std::string>& devices);

  // A READ request for a file of the tree has arrived.
  void note_request() noexcept { requests_.add(); }
  // The number of READ requests so far.
  std::uint64_t requests() const noexcept { return requests_.value(); }

  // True if there were reads within the last 10 to 20 ms. Reads the counters at most once per 10
  // ms. Non-blocking.
  bool reads_active() noexcept;

 private:
  std::uint64_t reads() const noexcept;

  mpool::Clock& clock_;
  mpool::Counter& requests_;
  std::vector<mpool::FileDescriptor> counters_;
  std::atomic<std::int64_t> next_look_ = 0;  // nanoseconds of the clock
  std::atomic<std::uint64_t> reads_ = 0;
  std::atomic<bool> active_ = false;
};

}  // namespace mpoolfs

// Whether somebody reads from block devices, by the kernel's own counters.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/device/file_descriptor.h"

namespace mpoolfs {

// Threads: watch() before the others use it; somebody_reads() from any.
class ReaderWatch {
 public:
  // Devices whose counters cannot be read are left out.
  void watch(const std::vector<std::string>& devices);

  // There were reads within the last hundredth of a second or two. Looks at the counters that often
  // at most, and waits for nothing.
  bool somebody_reads() noexcept;

 private:
  std::uint64_t reads() const noexcept;

  std::vector<mpool::FileDescriptor> counters_;
  std::atomic<std::int64_t> next_look_ = 0;  // nanoseconds of the steady clock
  std::atomic<std::uint64_t> reads_ = 0;
  std::atomic<bool> active_ = false;
};

}  // namespace mpoolfs

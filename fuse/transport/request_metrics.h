// The numbers of the requests of the kernel (mpoolfs(8), "METRICS").
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/base/clock.h"
#include "engine/base/metrics.h"

namespace mpoolfs {

// By kind: the time from the arrival of a request until its reply is handed to the kernel (or until
// it is done, for a request without a reply), and replies with an error.
//
// Threads: all functions may be called at the same time. They neither lock nor allocate.
class RequestMetrics {
 public:
  // `metrics` must outlive it.
  explicit RequestMetrics(mpool::Metrics& metrics);

  // Called once for each request.
  void begin() noexcept { in_progress_.add(1); }
  void end(std::uint32_t opcode, mpool::Clock::Duration taken, bool failed) noexcept;

 private:
  static constexpr std::size_t kKinds = 64;  // opcodes from here on are counted as 0, "other"
  struct Kind {
    mpool::LatencyHistogram* durations = nullptr;
    mpool::Counter* errors = nullptr;
  };

  mpool::Gauge& in_progress_;
  std::array<Kind, kKinds> kinds_;
};

}  // namespace mpoolfs

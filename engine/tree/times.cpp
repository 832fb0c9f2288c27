#include "engine/tree/times.h"

#include <algorithm>
#include <cstdint>
#include <limits>

namespace mpool::names {

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;  // nanoseconds
// Values up to this many seconds before and after 1970 are nanoseconds. Values beyond continue in
// steps of a second: kCoarseSeconds fit in the rest of the 64 bits.
constexpr std::int64_t kFineSeconds = 9'145'000'000;
constexpr std::int64_t kFine = kFineSeconds * kSecond;
constexpr std::int64_t kCoarseSeconds = std::numeric_limits<std::int64_t>::max() - kFine;

}  // namespace

Nanoseconds to_nanoseconds(const std::timespec& time) {
  const std::int64_t seconds = time.tv_sec;
  if (seconds >= kFineSeconds) return kFine + std::min(seconds - kFineSeconds, kCoarseSeconds);
  if (seconds < -kFineSeconds) {
    return -kFine + (std::max(seconds, -kFineSeconds - kCoarseSeconds - 1) + kFineSeconds);
  }
  return seconds * kSecond + time.tv_nsec;
}

std::timespec to_timespec(Nanoseconds time) {
  if (time >= kFine) return {.tv_sec = kFineSeconds + (time - kFine), .tv_nsec = 0};
  if (time < -kFine) return {.tv_sec = -kFineSeconds + (time + kFine), .tv_nsec = 0};
  std::int64_t seconds = time / kSecond;
  std::int64_t rest = time % kSecond;
  if (rest < 0) {
    --seconds;
    rest += kSecond;
  }
  return {.tv_sec = seconds, .tv_nsec = static_cast<long>(rest)};
}

}  // namespace mpool::names

#include "engine/tree/times.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace mpool::names {
namespace {

constexpr std::int64_t kFirst = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kLast = std::numeric_limits<std::int64_t>::max();

std::timespec through(std::int64_t seconds, long nanoseconds = 0) {
  return to_timespec(to_nanoseconds({.tv_sec = seconds, .tv_nsec = nanoseconds}));
}

TEST(Times, NearOnesAreKeptToTheNanosecond) {
  for (const std::int64_t seconds : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1'764'250'000},
                                     std::int64_t{-9'000'000'000}, std::int64_t{9'000'000'000}}) {
    for (const long nanoseconds : {0L, 1L, 999'999'999L}) {
      const std::timespec kept = through(seconds, nanoseconds);
      EXPECT_EQ(kept.tv_sec, seconds);
      EXPECT_EQ(kept.tv_nsec, nanoseconds);
    }
  }
  EXPECT_EQ(to_nanoseconds({.tv_sec = 2, .tv_nsec = 5}), 2'000'000'005);
  EXPECT_EQ(to_nanoseconds({.tv_sec = -2, .tv_nsec = 5}), -1'999'999'995);
}

TEST(Times, FarOnesAreKeptToTheSecond) {
  for (const std::int64_t seconds :
       {std::int64_t{9'223'372'037}, std::int64_t{10'413'792'000}, std::int64_t{253'402'300'799},
        std::int64_t{-9'223'372'038}, std::int64_t{-62'135'596'800}, std::int64_t{1} << 56,
        -(std::int64_t{1} << 56)}) {
    const std::timespec kept = through(seconds, 999'999'999);
    EXPECT_EQ(kept.tv_sec, seconds);
    EXPECT_EQ(kept.tv_nsec, 0);
  }
}

TEST(Times, TheFarthestStayInThePastAndInTheFuture) {
  EXPECT_EQ(to_nanoseconds({.tv_sec = kLast, .tv_nsec = 999'999'999}), kLast);
  EXPECT_GT(through(kLast).tv_sec, std::int64_t{1} << 56);
  EXPECT_LT(through(kFirst).tv_sec, -(std::int64_t{1} << 56));
}

TEST(Times, TheirOrderIsKept) {
  std::vector<std::int64_t> seconds{kFirst, kFirst + 1, -(std::int64_t{1} << 60), -1,
                                    0,      1,          std::int64_t{1} << 60};
  for (const std::int64_t border : {std::int64_t{9'145'000'000}, std::int64_t{9'223'372'036}}) {
    for (std::int64_t at = border - 3; at <= border + 3; ++at) {
      seconds.push_back(at);
      seconds.push_back(-at);
    }
  }
  std::ranges::sort(seconds);
  Nanoseconds last = kFirst;
  for (const std::int64_t at : seconds) {
    for (const long nanoseconds : {0L, 999'999'999L}) {
      const Nanoseconds kept = to_nanoseconds({.tv_sec = at, .tv_nsec = nanoseconds});
      EXPECT_GE(kept, last) << at;
      last = kept;
    }
  }
}

TEST(Times, EveryValueOfARecordIsATime) {
  for (const Nanoseconds kept :
       {kFirst, kFirst + 1, std::int64_t{-9'145'000'000'000'000'001},
        std::int64_t{-9'145'000'000'000'000'000}, std::int64_t{-1}, std::int64_t{0},
        std::int64_t{9'144'999'999'999'999'999}, std::int64_t{9'145'000'000'000'000'000}, kLast}) {
    const std::timespec time = to_timespec(kept);
    EXPECT_GE(time.tv_nsec, 0) << kept;
    EXPECT_LT(time.tv_nsec, 1'000'000'000) << kept;
    EXPECT_EQ(to_nanoseconds(time), kept);
  }
}

}  // namespace
}  // namespace mpool::names

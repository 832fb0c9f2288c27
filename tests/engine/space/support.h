// Shared by the tests of the space layer.
#pragma once

#include <cstdint>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/space/space_map.h"
#include "tests/support/error_of.h"

namespace mpool::test {

// Random 32-bit numbers of a seed.
class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  std::uint32_t operator()() { return static_cast<std::uint32_t>(engine_()); }

 private:
  std::mt19937 engine_;
};

// used, pending and free zones are all there are, and only free ones can be charged.
inline void expect_consistent(const SpaceUsage& usage) {
  EXPECT_EQ(usage.usable + usage.spare, usage.total);
  EXPECT_EQ(std::uint64_t{usage.used} + usage.pending + usage.free_usable + usage.free_spare,
            usage.total);
  EXPECT_LE(usage.free_usable, usage.usable);
  EXPECT_LE(usage.free_spare, usage.spare);
}

}  // namespace mpool::test

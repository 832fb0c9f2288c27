#include "fuse/transport/cpus.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

namespace mpoolfs {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Cpus, Lists) {
  EXPECT_THAT(parse_cpu_list("0"), ElementsAre(0));
  EXPECT_THAT(parse_cpu_list("0-3"), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(parse_cpu_list("0-1,8,10-11"), ElementsAre(0, 1, 8, 10, 11));
  EXPECT_THAT(parse_cpu_list("2-3\n"), ElementsAre(2, 3));
}

TEST(Cpus, ListsThatMakeNoSenseEndThere) {
  EXPECT_THAT(parse_cpu_list(""), IsEmpty());
  EXPECT_THAT(parse_cpu_list("x"), IsEmpty());
  EXPECT_THAT(parse_cpu_list("1-"), IsEmpty());
  EXPECT_THAT(parse_cpu_list("1,"), ElementsAre(1));
  EXPECT_THAT(parse_cpu_list("1,-2"), ElementsAre(1));
  EXPECT_THAT(parse_cpu_list("3-1"), IsEmpty());
  EXPECT_THAT(parse_cpu_list("0-4000000000"), IsEmpty());
}

TEST(Cpus, AllowedAreAmongThePossible) {
  const auto possible = possible_cpus();
  const auto allowed = allowed_cpus();
  ASSERT_FALSE(allowed.empty());
  EXPECT_TRUE(std::ranges::includes(possible, allowed));
}

TEST(Cpus, ARestrictedSetIsRespected) {
  cpu_set_t before;
  ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
  const unsigned last = allowed_cpus().back();
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(last, &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_THAT(allowed_cpus(), ElementsAre(last));
  ASSERT_EQ(::sched_setaffinity(0, sizeof before, &before), 0);
}

}  // namespace
}  // namespace mpoolfs

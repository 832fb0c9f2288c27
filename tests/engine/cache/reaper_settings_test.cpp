#include "engine/cache/reaper_settings.h"

#include <cerrno>

#include <gtest/gtest.h>

#include "tests/support/error_of.h"

namespace mpool {
namespace {

using test::error_of;

TEST(ReaperSettings, HaveTheDefaultsThatAreDocumented) {
  for (const ReaperTunable& tunable : reaper_tunables())
    EXPECT_EQ(tunable.get({}), tunable.fallback) << tunable.name;
}

TEST(ReaperSettings, TakeValuesOfTheirRange) {
  ReaperSettings settings;
  apply(settings, "reap_mempct", "5");
  EXPECT_EQ(settings.percent, 5u);
  apply(settings, "reap_mempct", "100");
  apply(settings, "reap_mempct", "0");
  EXPECT_EQ(settings.percent, 0u);
  apply(settings, "reap_ttl", "100");
  EXPECT_EQ(settings.ttl, std::chrono::microseconds(100));
  apply(settings, "reap_cgroup", "/sys/fs/cgroup/a");
  EXPECT_EQ(settings.cgroup, "/sys/fs/cgroup/a");
  apply(settings, "reap_cgroup", "-");
  EXPECT_EQ(settings.cgroup, "");
  apply(settings, "reap_debug", "3");
  EXPECT_EQ(settings.debug, 3u);
}

TEST(ReaperSettings, RefuseOthersWithTheRange) {
  ReaperSettings settings;
  const auto set = [&](const char* name, const char* value) {
    return [&settings, name, value] { apply(settings, name, value); };
  };
  for (const char* value : {"4", "101", "", "50 ", "x", "-1"})
    EXPECT_EQ(error_of(set("reap_mempct", value), "5 to 100 %, or 0"), EINVAL) << value;
  EXPECT_EQ(error_of(set("reap_ttl", "99"), "\"99\" is not 100 to 3600000000 us"), EINVAL);
  EXPECT_EQ(error_of(set("reap_ttl", "3600000001")), EINVAL);
  EXPECT_EQ(error_of(set("reap_cgroup", "relative"), "an absolute path"), EINVAL);
  EXPECT_EQ(error_of(set("reap_debug", "4"), "0 to 3"), EINVAL);
  EXPECT_EQ(error_of(set("reap_none", "4"), "no such tunable"), EINVAL);
  EXPECT_EQ(settings.percent, 0u);
}

}  // namespace
}  // namespace mpool

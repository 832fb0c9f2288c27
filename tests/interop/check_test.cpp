// Every reference pool is checked without a write to it, with the verdict in its README.
#include "engine/check/check.h"

#include <set>

#include <gtest/gtest.h>

#include "tests/interop/refpool.h"

namespace mpool::interop {
namespace {

// A superblock copy is bad, or the wrong one: the other is valid.
const std::set<std::string> kRepairable = {"f22-sb0-badmagic",  "f23-sb0-badcksum1",
                                           "f24-sb0-badcksum2", "f25-sb1-badmagic",
                                           "f26-sb1-badcksum2", "f27-sb0-mdc0uuid-flipped"};
// Interrupted before there was anything to complete.
const std::set<std::string> kRefused = {"f16-create-no-mcconfig", "f19-driveadd-no-mcconfig"};

// The pair of a client has an unfinished compaction, which activation does not handle.
const std::set<std::string> kUnfinished = {"f01-usermdc-cstart-nocend",
                                           "f02-usermdc-cstart-nocend-4k"};

check::Result check_devices(const std::vector<std::unique_ptr<Device>>& devices,
                            std::string& text) {
  return check::check(devices, {.data = true,
                                .report =
                                    [&](const check::Finding& finding) {
                                      text +=
                                          fmt::format("{}: {}: {}\n", to_string(finding.severity),
                                                      finding.where, finding.what);
                                    },
                                .progress = nullptr});
}

class Checked : public testing::TestWithParam<std::string> {};

TEST_P(Checked, HasTheExpectedVerdict) {
  const RefPool reference(GetParam());
  const bool repairable = kRepairable.contains(GetParam());
  const bool refused = kRefused.contains(GetParam());
  const auto devices = reference.overlays();
  std::string text;
  const check::Result result = check_devices(devices, text);
  EXPECT_EQ(reference.writes(), 0u);
  EXPECT_EQ(result.errors, repairable || refused ? 1u : 0u) << text;
  EXPECT_EQ(result.repairable_errors, repairable ? 1u : 0u) << text;
  const auto& activation = reference.expected().find("activate");
  const bool quiet = activation == reference.expected().end() || activation->at("writes") == 0;
  EXPECT_EQ(result.unfinished == 0, repairable || (quiet && !kUnfinished.contains(GetParam())))
      << text;

  const std::size_t steps = check::repair(
      devices, result.plan, [](const std::string& step) { EXPECT_FALSE(step.empty()); });
  EXPECT_EQ(steps != 0, reference.writes() != 0);
  text.clear();
  const check::Result after = check_devices(devices, text);
  EXPECT_EQ(after.errors, refused ? 1u : 0u) << text;
  EXPECT_EQ(after.unfinished, 0u) << text;
}

INSTANTIATE_TEST_SUITE_P(RefPools, Checked, testing::ValuesIn(refpool_names()),
                         [](const auto& test) { return test_name(test); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Checked);

}  // namespace
}  // namespace mpool::interop

// Power failures at every moment of a set of workloads, and failures of every operation
// (../../engine/io/simulated_device.h). Environment:
//   MPOOLFS_CRASH_STATES   how many crash states are checked in all (at least)
//   MPOOLFS_TEST_LONG=1    a million, if that is not given
//   MPOOLFS_TEST_SEED      the seed to begin with
// A failure prints the settings, with --gtest_filter, that reproduce it.
#include <cstdlib>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/crash/explorer.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kStates = 28'500;  // half of them of the client_ workloads
constexpr std::uint64_t kLongRunStates = 1'000'000;

const std::vector<std::unique_ptr<Workload>>& workloads() {
  static const auto all = [] {
    auto found = pool_workloads();
    for (auto& workload : change_workloads())
      found.push_back(std::move(workload));
    for (auto& workload : client_workloads())
      found.push_back(std::move(workload));
    for (auto& workload : library_workloads())
      found.push_back(std::move(workload));
    for (auto& workload : tree_workloads())
      found.push_back(std::move(workload));
    return found;
  }();
  return all;
}

std::uint64_t wanted_states() {
  if (const char* text = std::getenv("MPOOLFS_CRASH_STATES")) {
    return std::strtoull(text, nullptr, 10);
  }
  return std::getenv("MPOOLFS_TEST_LONG") != nullptr ? kLongRunStates : kStates;
}

std::uint64_t states_checked = 0;
std::uint64_t fault_runs = 0;

class Summary : public testing::Environment {
 public:
  void TearDown() override {
    fmt::print("{} crash states and {} runs with faults checked, MPOOLFS_TEST_SEED={}\n",
               states_checked, fault_runs, base_seed());
  }
};
const auto* const summary = testing::AddGlobalTestEnvironment(new Summary);

class CrashTest : public testing::TestWithParam<std::size_t> {
 protected:
  const Workload& workload() const { return *workloads().at(GetParam()); }
};

std::string name_of(const testing::TestParamInfo<std::size_t>& info) {
  return workloads().at(info.param)->name();
}

TEST_P(CrashTest, PowerFailures) {
  std::uint64_t weights = 0;
  for (const auto& each : workloads())
    weights += each->weight();
  const std::uint64_t share = wanted_states() * workload().weight() / weights + 1;
  const std::uint64_t checked = explore_crashes(workload(), share);
  EXPECT_GE(checked, share);
  states_checked += checked;
}

TEST_P(CrashTest, DeviceFailures) {
  const std::uint64_t runs = explore_faults(workload());
  EXPECT_GT(runs, 8u);
  fault_runs += runs;
}

INSTANTIATE_TEST_SUITE_P(Workloads, CrashTest, testing::Range(std::size_t{0}, workloads().size()),
                         name_of);

}  // namespace
}  // namespace mpool::test

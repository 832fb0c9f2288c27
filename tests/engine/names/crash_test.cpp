// Power cuts: the media as they were after each write of a workload are mounted; what is found must
// be a state that the tree had, not older than what was synced before.
#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/names/power_cuts.h"

namespace mpool::test {
namespace {

TEST(PowerCut, AnyMomentOfChangesThatAreSyncedOneByOne) {
  PowerCuts(tree_steps(), 1).check();
}

TEST(PowerCut, AnyMomentOfChangesThatAreSyncedTogether) {
  PowerCuts(tree_steps(), 4).check();
  PowerCuts(tree_steps(), 100).check();
}

TEST(PowerCut, AnyMomentOfAReplacementByRename) {
  const Step save = [](TestTree& tree) {
    static int round = 0;
    const auto file = tree.create("temporary");
    file->write(0, bytes_of(pattern(300, ++round)), false);
    tree.rename("temporary", "target");
    file->close();
  };
  PowerCuts({save, save, save, save}, 1).check();
  PowerCuts({save, save, save, save}, 3).check();
}

TEST(PowerCut, AnyMomentOfACompaction) {
  std::vector<Step> steps = tree_steps();
  // Enough garbage that the root MDC is compacted a few times.
  for (int i = 0; i < 8; ++i) {
    steps.push_back([](TestTree& tree) {
      for (int j = 0; j < 100; ++j) {
        tree.mkdir(kPassing);
        tree.names().remove_directory(kRootInode, kPassing);
      }
    });
  }
  PowerCuts(steps, 1).check();
}

// Appends become durable record by record: after a cut the log is a prefix of its records.
TEST(PowerCut, AnyMomentOfAppends) {
  NamespaceOptions options;
  options.commit_interval = std::chrono::hours(1);
  TestTree tree(options, {.zones = 256, .root_capacity = 2 * kZoneSize});
  struct LogCut {
    std::shared_ptr<Media> media;
    std::size_t durable;  // bytes synced before
  };
  std::vector<LogCut> cuts;
  std::size_t durable = 0;
  tree.append("log", "");
  tree.names().sync();
  tree.device().after_write([&] {
    cuts.push_back({std::make_shared<Media>(*tree.media()), durable});
  });
  std::string all;
  std::vector<std::size_t> ends{0};
  const auto file = tree.open("log", {.read = true, .write = true, .append = true});
  for (int i = 0; i < 60; ++i) {
    const std::string record = pattern(1 + (i * 977) % 6000, i);
    file->write(0, bytes_of(record), true);
    all += record;
    ends.push_back(all.size());
    if (i % 3 == 0) {
      file->fsync();
      durable = all.size();
    }
  }
  file->close();
  tree.device().after_write(nullptr);
  ASSERT_GT(cuts.size(), 20u);
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    SCOPED_TRACE(fmt::format("power cut after write {} of {}", i, cuts.size()));
    TestTree crashed(std::make_shared<Media>(*cuts[i].media), {});
    const std::string found = crashed.get("log");
    ASSERT_GE(found.size(), cuts[i].durable);
    ASSERT_TRUE(std::ranges::binary_search(ends, found.size())) << found.size();
    ASSERT_TRUE(all.starts_with(found));
    crashed.append("log", "after");
    ASSERT_EQ(crashed.get("log"), found + "after");
  }
}

}  // namespace
}  // namespace mpool::test

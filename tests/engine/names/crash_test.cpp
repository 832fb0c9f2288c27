// Power cuts: the media as they were after each write of a workload are mounted; what is found must be a
// state that the tree had, not older than what was synced before.
#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

using State = std::map<std::string, std::string>;
using Step = std::function<void(TestTree&)>;

// A name that comes and goes inside a step: a cut may find it or not.
constexpr const char* kPassing = "passing";

std::string text_of(const State& state) {
  std::string text;
  for (const auto& [name, line] : state) text += "  " + name + ": " + line + "\n";
  return text;
}

struct Cut {
  std::shared_ptr<Media> media;
  std::size_t durable_step;  // the state after this step was synced before the cut
  std::size_t last_step;     // the step under way
};

// Runs the steps, a state after each, and cuts the power after every write. Steps whose number is a multiple of
// `sync_every` are synced.
class PowerCuts {
 public:
  PowerCuts(const std::vector<Step>& steps, std::size_t sync_every) {
    NamespaceOptions options;
    options.commit_interval = std::chrono::hours(1);
    TestTree tree(options, {.zones = 256, .root_capacity = 2 * kZoneSize});
    tree.device().after_write([&] {
      cuts_.push_back({std::make_shared<Media>(*tree.media()), durable_, states_.size()});
    });
    states_.push_back(tree.dump());
    for (std::size_t i = 0; i < steps.size(); ++i) {
      steps[i](tree);
      states_.push_back(tree.dump());
      if (i % sync_every == 0) {
        tree.names().sync();
        durable_ = states_.size() - 1;
      }
    }
    tree.names().sync();
    durable_ = states_.size() - 1;
    cuts_.push_back({std::make_shared<Media>(*tree.media()), durable_, durable_});
    tree.device().after_write(nullptr);
  }

  void check() const {
    ASSERT_GT(cuts_.size(), 10u);
    std::uint32_t clean_zones = 0;
    for (std::size_t i = 0; i < cuts_.size(); ++i) {
      SCOPED_TRACE(fmt::format("power cut after write {} of {}", i, cuts_.size()));
      TestTree tree(std::make_shared<Media>(*cuts_[i].media), {});
      check_state(tree.dump(), cuts_[i]);
      if (testing::Test::HasFatalFailure()) return;
      // It can be worked with, and recovers again to the same.
      tree.put("after the cut", pattern(1000));
      const State worked = tree.dump();
      tree.remount();
      ASSERT_EQ(tree.dump(), worked);
      // No zone is lost: with everything gone, as much is free as in any other case.
      remove_all(tree, "");
      tree.names().sync();
      tree.pool().wait_for_discards(std::chrono::seconds(10));
      const auto used = tree.pool().class_facts(MediaClass::capacity).space.used;
      if (i == 0) clean_zones = used;
      ASSERT_EQ(used, clean_zones);
      ASSERT_EQ(tree.pool().object_count(), 2u) << "the root MDC's mlogs";
    }
  }

 private:
  void check_state(State found, const Cut& cut) const {
    found.erase(kPassing);
    for (std::size_t i = cut.durable_step; i < std::min(cut.last_step + 1, states_.size()); ++i) {
      if (states_[i] == found) return;
    }
    FAIL() << "found:\n"
           << text_of(found) << "which is none of the states " << cut.durable_step << " to "
           << cut.last_step << "; the first of them:\n"
           << text_of(states_[cut.durable_step]);
  }

  static void remove_all(TestTree& tree, const std::string& path) {
    for (const std::string& name : tree.list(path)) {
      const std::string child = path.empty() ? name : path + "/" + name;
      if (tree.stat(child).kind != FileKind::directory) {
        tree.unlink(child);
        continue;
      }
      remove_all(tree, child);
      const auto [parent, last] = tree.split(child);
      tree.names().remove_directory(parent, last);
    }
  }

  std::vector<State> states_;
  std::vector<Cut> cuts_;
  std::size_t durable_ = 0;
};

std::vector<Step> tree_steps() {
  return {
      [](TestTree& tree) { tree.mkdir("d"); },
      [](TestTree& tree) { tree.put("d/a", pattern(2 * kZoneSize + 10)); },
      [](TestTree& tree) { tree.put("b", pattern(100)); },
      [](TestTree& tree) { tree.rename("b", "d/b"); },
      [](TestTree& tree) { tree.names().link(tree.stat("d/a").inode, kRootInode, "hard"); },
      [](TestTree& tree) { tree.unlink("d/a"); },
      [](TestTree& tree) { tree.put("e", pattern(kZoneSize)); },
      [](TestTree& tree) { tree.rename("e", "hard"); },
      [](TestTree& tree) { tree.names().set_xattr(tree.stat("d").inode, "user.x", "1", 0); },
      [](TestTree& tree) { tree.put("f", pattern(10, 1)); },
      [](TestTree& tree) { tree.put("g", pattern(10, 2)); },
      [](TestTree& tree) { tree.rename("f", "g", RenameMode::exchange); },
      [](TestTree& tree) { tree.unlink("f"); },
      [](TestTree& tree) { tree.names().make_symlink(kRootInode, "link", "d/b", {}); },
      [](TestTree& tree) { tree.put("h", ""); },
      [](TestTree& tree) { tree.unlink("hard"); },
  };
}

TEST(PowerCut, AnyMomentOfChangesThatAreSyncedOneByOne) { PowerCuts(tree_steps(), 1).check(); }

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
  tree.device().after_write(
      [&] { cuts.push_back({std::make_shared<Media>(*tree.media()), durable}); });
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

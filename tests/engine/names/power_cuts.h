// Power cuts in a workload: what a mount finds after each must be a state that the tree had, not
// older than what was synced before.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"
#include "tests/engine/names/unflushed_device.h"

namespace mpool::test {

using State = std::map<std::string, std::string>;
using Step = std::function<void(TestTree&)>;

// A name that comes and goes inside a step: a cut may find it or not.
inline constexpr const char* kPassing = "passing";

inline std::string text_of(const State& state) {
  std::string text;
  for (const auto& [name, line] : state)
    text += "  " + name + ": " + line + "\n";
  return text;
}

struct Cut {
  std::shared_ptr<Media> media;
  std::size_t durable_step;  // the state after this step was synced before the cut
  std::size_t last_step;     // the step under way
};

// Every kind of change of the tree.
inline std::vector<Step> tree_steps() {
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

// Runs the steps, a state after each, and cuts the power after every write. Steps whose number is a
// multiple of `sync_every` are synced. With a seed the writes since the last flush are there or
// not, or in part, as the seed has it; without one each cut has all writes before it.
class PowerCuts {
 public:
  PowerCuts(const std::vector<Step>& steps, std::size_t sync_every,
            std::optional<std::uint64_t> seed = std::nullopt)
      : seed_(seed), random_(seed.value_or(0)) {
    NamespaceOptions options;
    options.commit_interval = std::chrono::hours(1);
    UnflushedDevice* device = nullptr;
    TestTree tree(options, {.zones = 256, .root_capacity = 2 * kZoneSize},
                  [&](std::shared_ptr<Media> media) {
                    auto made = std::make_unique<UnflushedDevice>(std::move(media));
                    device = made.get();
                    return made;
                  });
    device->after_write([&] {
      const std::lock_guard lock(mutex_);
      if (seed_ && random_() % kSeededCut != 0) return;
      const auto media = seed_ ? device->crashed(random_) : std::make_shared<Media>(*tree.media());
      cuts_.push_back({media, durable_, states_.size()});
    });
    add_state(tree);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      steps[i](tree);
      add_state(tree);
      if (i % sync_every == 0) sync(tree);
    }
    sync(tree);
    device->after_write(nullptr);
    cuts_.push_back({std::make_shared<Media>(*tree.media()), durable_, durable_});
  }

  void check() const {
    ASSERT_GT(cuts_.size(), 2u);
    std::uint32_t clean_zones = 0;
    for (std::size_t i = 0; i < cuts_.size(); ++i) {
      SCOPED_TRACE(fmt::format("power cut {} of {}, seed {}", i, cuts_.size(), seed_.value_or(0)));
      TestTree tree(std::make_shared<Media>(*cuts_[i].media), {});
      check_state(tree.dump(), cuts_[i]);
      if (testing::Test::HasFatalFailure()) return;
      // It can be worked with, and recovers again to the same.
      tree.put("after the cut", pattern(1000));
      const State worked = tree.dump();
      tree.remount();
      ASSERT_EQ(tree.dump(), worked);
      // No zone is lost: with everything gone, as much is free as in any other case.
      tree.remove_all();
      const auto used = tree.used_zones();
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

  void add_state(TestTree& tree) {
    const State state = tree.dump();
    const std::lock_guard lock(mutex_);
    states_.push_back(state);
  }
  void sync(TestTree& tree) {
    tree.names().sync();
    const std::lock_guard lock(mutex_);
    durable_ = states_.size() - 1;
  }

  static constexpr std::uint64_t kSeededCut = 2;  // of so many writes one is followed by a cut

  const std::optional<std::uint64_t> seed_;
  std::mt19937_64 random_;
  std::mutex mutex_;  // the journal writes on its own thread
  std::vector<State> states_;
  std::vector<Cut> cuts_;
  std::size_t durable_ = 0;
};

}  // namespace mpool::test

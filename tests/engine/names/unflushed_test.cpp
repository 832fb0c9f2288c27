// Power cuts that lose, tear and keep what was not flushed, as a seed has it.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/names/power_cuts.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kSeeds = 4;

void check_seeds(const std::vector<Step>& steps, std::size_t sync_every) {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    PowerCuts(steps, sync_every, seed).check();
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Unflushed, ChangesOfTheTree) {
  const std::vector<Step> steps = tree_steps();
  check_seeds(steps, 1);
  check_seeds(steps, 3);
  check_seeds(steps, 100);
}

TEST(Unflushed, Compactions) {
  std::vector<Step> steps;
  for (int i = 0; i < 6; ++i) {
    steps.push_back([i](TestTree& tree) { tree.put("f" + std::to_string(i), pattern(5000, i)); });
    steps.push_back([](TestTree& tree) {
      for (int j = 0; j < 200; ++j) {
        tree.mkdir(kPassing);
        tree.names().remove_directory(kRootInode, kPassing);
      }
    });
  }
  check_seeds(steps, 1);
}

TEST(Unflushed, ALogThatGrowsAndIsTruncated) {
  std::vector<Step> steps = {[](TestTree& tree) { tree.append("log", ""); }};
  for (int i = 0; i < 30; ++i) {
    if (i % 11 == 10) {
      steps.push_back([](TestTree& tree) { tree.names().truncate(tree.stat("log").inode, 0); });
    } else {
      steps.push_back([i](TestTree& tree) { tree.append("log", pattern(17'000, i)); });
    }
  }
  check_seeds(steps, 1);
  check_seeds(steps, 4);
}

// An open file goes with its last close, in a batch of its own, when the batch that made it was the
// last one: what came with it must stay.
TEST(Unflushed, FilesMadeAndUnlinkedWhileOpenTakeNothingAlong) {
  std::unique_ptr<OpenFile> file;
  check_seeds({
                  [](TestTree& tree) { tree.mkdir("d"); },
                  [&](TestTree& tree) {
                    tree.put("f", pattern(100));
                    file = tree.open("f", {.read = true});
                    tree.unlink("f");
                  },
                  [](TestTree& tree) { tree.put("g", pattern(200)); },
                  [&](TestTree&) {
                    file->close();
                    file.reset();
                  },
                  [](TestTree&) {},
                  [](TestTree& tree) { tree.put("h", pattern(300)); },
              },
              2);
}

// A file that is fsynced in the middle has after a cut what was fsynced, or more.
TEST(Unflushed, FilesFsyncedInTheMiddle) {
  const std::string text = pattern(3 * kZoneSize);
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    std::mt19937_64 random(seed);
    struct Cut {
      std::shared_ptr<Media> media;
      std::size_t durable;  // bytes
    };
    std::vector<Cut> cuts;
    std::atomic<std::size_t> durable = 0;
    NamespaceOptions options;
    options.commit_interval = std::chrono::hours(1);
    UnflushedDevice* device = nullptr;
    TestTree tree(options, {.zones = 256, .root_capacity = 2 * kZoneSize},
                  [&](std::shared_ptr<Media> media) {
                    auto made = std::make_unique<UnflushedDevice>(std::move(media));
                    device = made.get();
                    return made;
                  });
    tree.put("target", "old");
    tree.names().sync();
    std::mutex mutex;
    device->after_write([&] {
      const std::lock_guard lock(mutex);
      cuts.push_back({device->crashed(random), durable});
    });
    const auto file = tree.create("f");
    tree.rename("f", "target");
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t length = std::min<std::size_t>(1 + random() % 20'000, text.size() - at);
      file->write(at, bytes_of(std::string_view(text).substr(at, length)), false);
      at += length;
      if (random() % 4 == 0) {
        file->fsync();
        durable = at;
      }
    }
    file->close();
    tree.names().sync();
    device->after_write(nullptr);
    for (const Cut& cut : cuts) {
      SCOPED_TRACE(fmt::format("seed {}, {} bytes durable", seed, cut.durable));
      TestTree crashed(cut.media, {});
      ASSERT_EQ(crashed.list(""), std::vector<std::string>{"target"});
      const std::string found = crashed.get("target");
      if (cut.durable == 0 && found == "old") continue;
      ASSERT_GE(found.size(), cut.durable);
      ASSERT_TRUE(text.starts_with(found));
    }
  }
}

// A mount that is cut while it cleans up after another cut.
TEST(Unflushed, AMountThatIsCut) {
  NamespaceOptions options;
  options.commit_interval = std::chrono::hours(1);
  TestTree tree(options);
  tree.put("f", pattern(100));
  const auto file = tree.open("f", {.read = true});
  tree.unlink("f");
  tree.put("g", pattern(200));
  tree.names().sync();
  std::vector<std::shared_ptr<Media>> cuts;
  {
    const auto media = std::make_shared<Media>(*tree.media());
    TestTree mounted(media, {}, [&](std::shared_ptr<Media> under) {
      auto device = std::make_unique<MemoryDevice>("memory", under);
      device->after_write([&cuts, under] { cuts.push_back(std::make_shared<Media>(*under)); });
      return device;
    });
    mounted.device().after_write(nullptr);
  }
  ASSERT_GT(cuts.size(), 1u);
  for (const auto& cut : cuts) {
    TestTree again(cut, {});
    ASSERT_EQ(again.get("g"), pattern(200));
    ASSERT_EQ(again.list(""), std::vector<std::string>{"g"});
  }
  file->close();
}

}  // namespace
}  // namespace mpool::test

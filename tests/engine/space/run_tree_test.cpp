#include "engine/space/run_tree.h"

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/space/support.h"

namespace mpool::test {
namespace {

std::optional<std::uint32_t> find_in(const std::vector<bool>& model, std::uint32_t count,
                                     std::uint32_t from) {
  std::uint32_t run = 0;
  for (std::uint32_t bit = from; bit < model.size(); ++bit) {
    run = model[bit] ? run + 1 : 0;
    if (run == count) return bit + 1 - count;
  }
  return std::nullopt;
}

std::uint32_t longest_in(const std::vector<bool>& model) {
  std::uint32_t longest = 0;
  std::uint32_t run = 0;
  for (const bool bit : model) {
    run = bit ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  return longest;
}

std::uint32_t prefix_of(const std::vector<bool>& model) {
  return static_cast<std::uint32_t>(std::ranges::find(model, false) - model.begin());
}

std::uint32_t suffix_of(std::vector<bool> model) {
  std::reverse(model.begin(), model.end());
  return prefix_of(model);
}

TEST(RunTree, StartsClear) {
  const RunTree tree(100);
  EXPECT_EQ(tree.size(), 100u);
  EXPECT_TRUE(tree.all_clear(0, 100));
  EXPECT_EQ(tree.longest(), 0u);
  EXPECT_EQ(tree.find(1, 0), std::nullopt);
}

TEST(RunTree, FindsRunsAcrossWords) {
  RunTree tree(1000);
  tree.set(60, 200);
  tree.set(300, 700);
  EXPECT_EQ(tree.longest(), 400u);
  EXPECT_EQ(tree.find(140, 0), 60u);
  EXPECT_EQ(tree.find(141, 0), 300u);
  EXPECT_EQ(tree.find(100, 100), 100u);
  EXPECT_EQ(tree.find(100, 101), 300u);
  EXPECT_EQ(tree.find(400, 300), 300u);
  EXPECT_EQ(tree.find(400, 301), std::nullopt);
  EXPECT_EQ(tree.find(1, 699), 699u);
  EXPECT_EQ(tree.find(1, 700), std::nullopt);
  EXPECT_EQ(tree.find(1, 1000), std::nullopt);
  tree.clear(64, 65);
  EXPECT_EQ(tree.find(5, 0), 65u);
  EXPECT_EQ(tree.find(4, 0), 60u);
}

TEST(RunTree, KnowsItsEnds) {
  RunTree tree(130);
  tree.set(0, 130);
  EXPECT_EQ(tree.prefix(), 130u);
  EXPECT_EQ(tree.suffix(), 130u);
  tree.clear(66, 67);
  EXPECT_EQ(tree.prefix(), 66u);
  EXPECT_EQ(tree.suffix(), 63u);
  tree.clear(129, 130);
  EXPECT_EQ(tree.suffix(), 0u);
}

TEST(RunTree, EmptyRangesChangeNothing) {
  RunTree tree(64);
  tree.set(10, 10);
  EXPECT_TRUE(tree.all_clear(0, 64));
  tree.set(0, 64);
  tree.clear(64, 64);
  EXPECT_TRUE(tree.all_set(0, 64));
}

TEST(RunTree, KeepsItsBitsWhenItGrows) {
  RunTree tree(70);
  tree.set(60, 70);
  for (const std::uint32_t size : {70u, 128u, 129u, 5000u}) {
    tree.resize(size);
    EXPECT_EQ(tree.size(), size);
    EXPECT_TRUE(tree.all_set(60, 70));
    EXPECT_TRUE(tree.all_clear(70, size));
    EXPECT_EQ(tree.find(10, 0), 60u);
    EXPECT_EQ(tree.find(11, 0), std::nullopt);
  }
  tree.set(70, 5000);
  EXPECT_EQ(tree.find(4940, 0), 60u);
  EXPECT_EQ(tree.suffix(), 4940u);
}

TEST(RunTree, FollowsAModelUnderRandomOperations) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  for (const std::uint32_t size : {1u, 63u, 64u, 65u, 127u, 500u, 4096u, 5001u}) {
    RunTree tree(size);
    std::vector<bool> model(size, false);
    for (unsigned step = 0; step < 2000; ++step) {
      const std::uint32_t first = random() % size;
      const std::uint32_t most = random() % 8 == 0 ? size : 20;
      const std::uint32_t last = std::min(size, first + 1 + random() % most);
      const bool value = random() % 2 == 0;
      value ? tree.set(first, last) : tree.clear(first, last);
      std::fill(model.begin() + first, model.begin() + last, value);
      ASSERT_EQ(tree.longest(), longest_in(model));
      ASSERT_EQ(tree.prefix(), prefix_of(model));
      ASSERT_EQ(tree.suffix(), suffix_of(model));
      const std::uint32_t count = 1 + random() % (random() % 4 == 0 ? size : 70);
      const std::uint32_t from = random() % size;
      ASSERT_EQ(tree.find(count, from), find_in(model, count, from)) << count << " from " << from;
      const std::uint32_t a = random() % size;
      const std::uint32_t b = std::min(size, a + random() % 100);
      const auto is_set = [](bool bit) { return bit; };
      ASSERT_EQ(tree.all_set(a, b), std::all_of(model.begin() + a, model.begin() + b, is_set));
      ASSERT_EQ(tree.all_clear(a, b), std::none_of(model.begin() + a, model.begin() + b, is_set));
    }
  }
}

}  // namespace
}  // namespace mpool::test

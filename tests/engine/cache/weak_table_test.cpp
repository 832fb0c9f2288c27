// The table of objects that something else keeps.
#include "engine/cache/weak_table.h"

#include <memory>
#include <vector>

#include <gtest/gtest.h>

namespace mpool {
namespace {

TEST(WeakTable, FindsWhatIsUsed) {
  WeakTable<int, int> table;
  EXPECT_EQ(table.find(1), nullptr);
  auto one = std::make_shared<int>(10);
  table[1] = one;
  EXPECT_EQ(table.find(1), one);
  EXPECT_EQ(table[1].lock(), one);
  one.reset();
  EXPECT_EQ(table.find(1), nullptr);
}

TEST(WeakTable, ForgetsWhatHasEnded) {
  WeakTable<int, int> table;
  std::vector<std::shared_ptr<int>> used;
  for (int key = 0; key < 10000; ++key) {
    auto object = std::make_shared<int>(key);
    table[key] = object;
    if (key % 100 == 0) used.push_back(std::move(object));
  }
  EXPECT_LE(table.size(), 3 * used.size());
  for (const auto& object : used)
    EXPECT_EQ(table.find(*object), object);
}

}  // namespace
}  // namespace mpool

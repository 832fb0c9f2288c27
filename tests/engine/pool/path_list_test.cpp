#include "engine/pool/path_list.h"

#include <gtest/gtest.h>

namespace mpool {
namespace {

using Paths = std::vector<std::string>;

TEST(PathList, Splits) {
  EXPECT_EQ(split_paths(""), Paths{});
  EXPECT_EQ(split_paths(",,"), Paths{});
  EXPECT_EQ(split_paths("/dev/a"), Paths{"/dev/a"});
  EXPECT_EQ(split_paths("/dev/a,/b c,"), (Paths{"/dev/a", "/b c"}));
  EXPECT_EQ(split_paths("a\\,b,c"), (Paths{"a,b", "c"}));
  EXPECT_EQ(split_paths("a\\\\,b"), (Paths{"a\\", "b"}));
  EXPECT_EQ(split_paths("a\\b\\"), Paths{"a\\b\\"});
}

TEST(PathList, JoinsWhatSplittingGivesBack) {
  EXPECT_EQ(join_paths(Paths{"/dev/a", "/dev/b"}), "/dev/a,/dev/b");
  EXPECT_EQ(join_paths(Paths{"a,b"}), "a\\,b");
  for (const Paths& paths : {Paths{}, Paths{"a,b", "\\"}, Paths{",", "\\,", "x\\,"}}) {
    EXPECT_EQ(split_paths(join_paths(paths)), paths);
  }
}

}  // namespace
}  // namespace mpool

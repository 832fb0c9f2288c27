#include <gtest/gtest.h>

#include "tests/tools/support.h"

namespace mpool::tools {
namespace {

TEST(Mapsum, PrintsWhatSha256sumPrints) {
  const test::TemporaryDirectory directory;
  const std::string empty = directory / "empty";
  const std::string full = directory / "full";
  make_empty_file(empty, 0);
  make_empty_file(full, 3 * kMiB + 1);
  write_bytes(full, kMiB, "content");
  const std::string names = " '" + empty + "' '" + full + "'";
  EXPECT_EQ(shell(MPOOLFS_MAPSUM + names), shell("sha256sum" + names));
}

TEST(Mapsum, FailsForAMissingFile) {
  const test::TemporaryDirectory directory;
  shell("! " MPOOLFS_MAPSUM " '" + (directory / "missing") + "'");
}

}  // namespace
}  // namespace mpool::tools

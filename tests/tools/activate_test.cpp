// mpool activate and deactivate.
#include <filesystem>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/tools/support.h"
#include "tools/commands.h"

namespace mpool::tools {
namespace {

using ::testing::HasSubstr;

// Changes /run/mpool, which is root's.
class ActivateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) FAIL() << "/run/mpool needs root: run tools/test.sh as root";
    make_pool(name_, image_);
  }
  void TearDown() override { mpool_command({"deactivate", image_}); }

  const test::TemporaryDirectory directory_;
  const std::string name_ = fmt::format("activate-{}", ::getpid());
  const std::string image_ = directory_ / "pool.img";
  const std::filesystem::path run_directory_ = "/run/mpool/" + name_;
};

TEST_F(ActivateTest, AnImageIsFoundByNameUntilDeactivated) {
  for (int i = 0; i < 2; ++i) {  // active already: no effect
    const Result result = mpool_command({"activate", image_});
    EXPECT_EQ(result.status, kSuccess) << result.err;
    EXPECT_EQ(result.out, "Pool " + name_ + " is active.\n");
  }
  EXPECT_TRUE(std::filesystem::exists(run_directory_ / "pool.json"));
  const Result ended = mpool_command({"deactivate", name_});
  EXPECT_EQ(ended.status, kSuccess) << ended.err;
  EXPECT_FALSE(std::filesystem::exists(run_directory_));
}

TEST_F(ActivateTest, RenameAndDestroyAreRecorded) {
  const std::string renamed = name_ + "-new";
  ASSERT_EQ(mpool_command({"activate", image_}).status, kSuccess);
  const Result moved = mpool_command({"rename", image_, renamed});
  EXPECT_EQ(moved.status, kSuccess) << moved.err;
  EXPECT_FALSE(std::filesystem::exists(run_directory_));
  EXPECT_TRUE(std::filesystem::exists("/run/mpool/" + renamed + "/pool.json"));
  const Result destroyed = mpool_command({"destroy", "--yes", image_});
  EXPECT_EQ(destroyed.status, kSuccess) << destroyed.err;
  EXPECT_FALSE(std::filesystem::exists("/run/mpool/" + renamed));
}

TEST_F(ActivateTest, RefusesWhatIsNotThere) {
  const Result inactive = mpool_command({"deactivate", image_});
  EXPECT_EQ(inactive.status, kFailure);
  EXPECT_THAT(inactive.err, HasSubstr("the pool is not active"));
  const Result unknown = mpool_command({"activate", "no-such-pool"});
  EXPECT_EQ(unknown.status, kFailure);
  EXPECT_THAT(unknown.err, HasSubstr("no such pool"));
}

}  // namespace
}  // namespace mpool::tools

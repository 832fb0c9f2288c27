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

TEST_F(ActivateTest, EachCommandFindsAnActiveImageByNameAndUuid) {
  const Json pool = mpool_json({"info", "--json", image_}).at("pool");
  const std::string uuid = "UUID=" + pool.at("uuid").get<std::string>();
  for (const std::string& operand : {name_, uuid}) {
    const Result unknown = mpool_command({"info", operand});
    EXPECT_EQ(unknown.status, kFailure) << operand;
    EXPECT_THAT(unknown.err, HasSubstr("not found on any block device"));
  }
  ASSERT_EQ(mpool_command({"activate", image_}).status, kSuccess);
  for (const std::string& operand : {name_, uuid}) {
    EXPECT_EQ(mpool_json({"info", "--json", operand}).at("pool"), pool);
  }
  // The registry counts only as long as the pool is on the device.
  std::filesystem::remove(image_);
  make_pool(name_ + "-other", image_);
  EXPECT_EQ(mpool_command({"info", name_}).status, kFailure);
  EXPECT_EQ(mpool_command({"deactivate", name_}).status, kSuccess);
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

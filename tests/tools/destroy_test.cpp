#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/io/open.h"
#include "engine/io/probe.h"
#include "tests/tools/support.h"
#include "tools/commands.h"

namespace mpool::tools {
namespace {

using ::testing::HasSubstr;

class DestroyTest : public ::testing::Test {
 protected:
  const test::TemporaryDirectory directory_;
  const std::string image_ = directory_ / "pool.img";
  const std::string staging_ = directory_ / "staging.img";

  void expect_alive(const std::string& path) { EXPECT_TRUE(probe_signature(path)) << path; }
  void expect_gone(const std::string& path) {
    EXPECT_FALSE(probe_signature(path)) << path;
    EXPECT_EQ(mpool_command({"list", path}).status, kFailure);
  }
};

TEST_F(DestroyTest, DestroysAPool) {
  make_pool("data", image_, {"--staging", staging_, "--staging-size", "64M"});
  const Result result = mpool_command({"destroy", "--yes", image_ + "," + staging_});
  EXPECT_EQ(result.status, kSuccess) << result.err;
  EXPECT_THAT(result.out, HasSubstr("Pool data "));
  expect_gone(image_);
  expect_gone(staging_);
  EXPECT_EQ(mpool_command({"create", "again", image_}).status, kSuccess);
}

TEST_F(DestroyTest, WantsConfirmation) {
  make_pool("data", image_);
  const Result result = mpool_command({"destroy", image_});
  EXPECT_EQ(result.status, kUsage);
  EXPECT_THAT(result.err, HasSubstr("--yes"));
  expect_alive(image_);
}

TEST_F(DestroyTest, AsksForTheNameOnATerminal) {
  make_pool("data", image_);
  for (const std::string answer : {"", "y\n", "other\n"}) {
    const Result result = mpool_on_terminal({"destroy", image_}, answer);
    EXPECT_EQ(result.status, kFailure);
    EXPECT_THAT(result.err, HasSubstr("Type the pool's name"));
    EXPECT_THAT(result.err, HasSubstr("not confirmed"));
    expect_alive(image_);
  }
  EXPECT_EQ(mpool_on_terminal({"destroy", image_}, "data\n").status, kSuccess);
  expect_gone(image_);
}

TEST_F(DestroyTest, NeverDestroysAnActivePool) {
  make_pool("data", image_);
  const auto lock = open_device(image_, OpenMode::activate);
  EXPECT_EQ(mpool_command({"destroy", "--yes", "--force", image_}).status, kFailure);
  const Result result = mpool_command({"destroy", "--yes", image_});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_THAT(result.err, HasSubstr("in use"));
  EXPECT_THAT(result.err, HasSubstr("umount"));
  expect_alive(image_);
}

TEST_F(DestroyTest, RefusesAnIncompletePoolUnlessForced) {
  make_pool("data", image_, {"--staging", staging_, "--staging-size", "64M"});
  const Result result = mpool_command({"destroy", "--yes", image_});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_THAT(result.err, HasSubstr("--force"));
  expect_alive(image_);
  EXPECT_EQ(mpool_command({"destroy", "--yes", "--force", image_}).status, kSuccess);
  expect_gone(image_);
  expect_alive(staging_);
}

TEST_F(DestroyTest, RefusesWhatIsNoPool) {
  make_empty_file(image_, kMiB);
  const Result result = mpool_command({"destroy", "--yes", "--force", image_});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_THAT(result.err, HasSubstr("no mpool found"));
}

TEST_F(DestroyTest, RefusesDevicesOfTwoPools) {
  make_pool("one", image_);
  make_pool("other", staging_);
  EXPECT_EQ(mpool_command({"destroy", "--yes", "--force", image_ + "," + staging_}).status,
            kFailure);
  expect_alive(image_);
  expect_alive(staging_);
}

}  // namespace
}  // namespace mpool::tools

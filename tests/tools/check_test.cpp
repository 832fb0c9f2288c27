// mpool check.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/format/superblock.h"
#include "engine/io/open.h"
#include "tests/tools/support.h"
#include "tools/commands.h"

namespace mpool::tools {
namespace {

using ::testing::HasSubstr;

class CheckCommandTest : public ::testing::Test {
 protected:
  void SetUp() override { make_pool("data", image_); }

  const test::TemporaryDirectory directory_;
  const std::string image_ = directory_ / "pool.img";
};

TEST_F(CheckCommandTest, SaysThatASoundPoolIsClean) {
  const std::string before = file_digest(image_);
  const Result result = mpool_command({"check", "--data", image_});
  EXPECT_EQ(result.status, kSuccess) << result.out << result.err;
  EXPECT_THAT(result.out, HasSubstr("Pool data (UUID "));
  EXPECT_THAT(result.out, HasSubstr("0 mblocks, 2 mlogs, 0 names: clean\n"));
  EXPECT_TRUE(result.err.empty()) << result.err;
  EXPECT_EQ(mpool_command({"check", "--repair", image_}).status, kSuccess);
  EXPECT_EQ(file_digest(image_), before);
}

TEST_F(CheckCommandTest, TakesDevicesOneByOneOrJoined) {
  const std::string capacity = directory_ / "capacity";
  const std::string staging = directory_ / "staging";
  make_pool("two", capacity, {"--staging", staging, "--staging-size", "64M"});
  EXPECT_EQ(mpool_command({"check", capacity, staging}).status, kSuccess);
  EXPECT_EQ(mpool_command({"check", staging + "," + capacity}).status, kSuccess);
  for (const std::string& alone : {capacity, staging}) {
    const Result result = mpool_command({"check", alone});
    EXPECT_EQ(result.status, kErrorsLeft);
    EXPECT_THAT(result.out, HasSubstr("missing"));
  }
  EXPECT_EQ(mpool_command({"check", capacity, image_}).status, kCheckFailure);
}

TEST_F(CheckCommandTest, RepairsASuperblock) {
  const std::string sound = read_bytes(image_, 0, kSuperblockSize);
  write_bytes(image_, 0, "damaged");
  const std::string damaged = file_digest(image_);
  const Result found = mpool_command({"check", image_});
  EXPECT_EQ(found.status, kErrorsLeft);
  EXPECT_THAT(found.out, HasSubstr("superblock 0: error: magic is"));
  EXPECT_THAT(found.out, HasSubstr("--repair"));
  EXPECT_EQ(file_digest(image_), damaged);

  const Result repaired = mpool_command({"check", "--repair", image_});
  EXPECT_EQ(repaired.status, kCorrected);
  EXPECT_THAT(repaired.out, HasSubstr("Repairing: " + image_));
  EXPECT_THAT(repaired.out, HasSubstr(": clean"));
  EXPECT_EQ(read_bytes(image_, 0, kSuperblockSize), sound);
  EXPECT_EQ(mpool_command({"check", image_}).status, kSuccess);
}

TEST_F(CheckCommandTest, LeavesWhatItCannotRepair) {
  // The first record of the first metadata log.
  const Json info = mpool_json({"info", "--json", image_});
  const std::uint64_t zone = info["devices"][0]["zone_size"];
  write_bytes(image_, zone + 46, "\x7f");
  const std::string damaged = file_digest(image_);
  const Result result = mpool_command({"check", "--repair", image_});
  EXPECT_EQ(result.status, kErrorsLeft) << result.out;
  EXPECT_THAT(result.out, HasSubstr("MDC0"));
  EXPECT_EQ(file_digest(image_), damaged);
}

TEST_F(CheckCommandTest, PrintsJson) {
  write_bytes(image_, 8192, "damaged");
  const Result result = mpool_command({"check", "--json", "--repair", image_});
  EXPECT_EQ(result.status, kCorrected) << result.err;
  const Json json = Json::parse(result.out);
  EXPECT_EQ(json["pool"]["name"], "data");
  EXPECT_EQ(json["devices"], Json::array({image_}));
  EXPECT_EQ(json["errors"], 0);
  ASSERT_EQ(json["findings"].size(), 1u);
  EXPECT_EQ(json["findings"][0]["severity"], "error");
  EXPECT_EQ(json["findings"][0]["area"], "superblocks");
  EXPECT_EQ(json["findings"][0]["repairable"], true);
  EXPECT_EQ(json["repairs"].size(), 1u);
  EXPECT_TRUE(json["left"].empty());
}

TEST_F(CheckCommandTest, RefusesAPoolInUse) {
  const auto lock = open_device(image_, OpenMode::activate);
  const Result result = mpool_command({"check", image_});
  EXPECT_EQ(result.status, kCheckFailure);
  EXPECT_THAT(result.err, HasSubstr("in use"));
}

TEST_F(CheckCommandTest, SaysWhatIsNoPool) {
  make_empty_file(directory_ / "empty", kMiB);
  const Result result = mpool_command({"check", directory_ / "empty"});
  EXPECT_EQ(result.status, kErrorsLeft);
  EXPECT_THAT(result.out, HasSubstr("no good superblock"));
  EXPECT_EQ(mpool_command({"check", directory_ / "missing"}).status, kCheckFailure);
  EXPECT_EQ(mpool_command({"check"}).status, kCheckUsage);
  EXPECT_EQ(mpool_command({"check", "--nonsense", image_}).status, kCheckUsage);
}

TEST_F(CheckCommandTest, ShowsProgressOnATerminalOnly) {
  EXPECT_THAT(mpool_on_terminal({"check", image_}, "").err, HasSubstr("mpool check: 2 of 2 logs"));
}

}  // namespace
}  // namespace mpool::tools

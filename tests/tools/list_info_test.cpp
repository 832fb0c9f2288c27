#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/io/open.h"
#include "tests/tools/support.h"
#include "tools/commands.h"

namespace mpool::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class PoolTest : public ::testing::Test {
 protected:
  const test::TemporaryDirectory directory_;
  const std::string image_ = directory_ / "pool.img";
  const std::string staging_ = directory_ / "staging.img";

  void make_two_devices() {
    make_pool("two", image_, {"--staging", staging_, "--staging-size", "64M"});
  }
  // Both superblocks, in their checksummed part.
  void damage_superblocks() {
    write_bytes(image_, 16, "damage");
    write_bytes(image_, 8192 + 16, "damage");
  }
};

using ListTest = PoolTest;
using InfoTest = PoolTest;

TEST_F(ListTest, ShowsAPoolAndWhetherItIsActive) {
  make_two_devices();
  const Json list = mpool_json({"list", "--json", image_, staging_});
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0]["name"], "two");
  EXPECT_EQ(list[0]["class"], "capacity");
  EXPECT_EQ(list[0]["size"], 128 * kMiB);
  EXPECT_EQ(list[0]["active"], false);
  EXPECT_EQ(list[0]["device"], image_);
  EXPECT_EQ(list[1]["class"], "staging");
  EXPECT_EQ(list[1]["uuid"], list[0]["uuid"]);

  const auto lock = open_device(image_, OpenMode::activate);
  EXPECT_EQ(mpool_json({"list", "--json", image_})[0]["active"], true);
}

TEST_F(ListTest, PrintsATable) {
  make_pool("data", image_);
  const Result result = mpool_command({"list", image_});
  EXPECT_EQ(result.status, kSuccess);
  EXPECT_THAT(result.out, StartsWith("NAME  UUID "));
  EXPECT_THAT(result.out, HasSubstr("\ndata  "));
  EXPECT_THAT(result.out, HasSubstr("  capacity  128 MiB  no      " + image_ + "\n"));
}

TEST_F(ListTest, LooksAtAllBlockDevices) {
  const Result result = mpool_command({"list", "--json"});
  EXPECT_EQ(result.status, kSuccess) << result.err;
  EXPECT_TRUE(Json::parse(result.out).is_array());
}

TEST_F(ListTest, FailsForADeviceThatIsMissingOrHoldsNoPool) {
  make_pool("data", image_);
  make_empty_file(staging_, kMiB);
  const Result result = mpool_command({"list", "--json", image_, staging_, directory_ / "missing"});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_EQ(Json::parse(result.out).size(), 1u);
  EXPECT_THAT(result.err, HasSubstr("mpool list: " + staging_ + ": no mpool found"));
  EXPECT_THAT(result.err, HasSubstr(directory_ / "missing"));
}

TEST_F(ListTest, SaysWhatIsWrongWithBothSuperblocks) {
  make_pool("data", image_);
  damage_superblocks();
  const Result result = mpool_command({"list", image_});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_THAT(result.err, HasSubstr("superblock 0: "));
  EXPECT_THAT(result.err, HasSubstr("superblock 1: "));
}

TEST_F(InfoTest, ShowsAPoolAndChangesNothing) {
  make_two_devices();
  const std::string before = file_digest(image_);
  const Json info = mpool_json({"info", "--json", image_ + "," + staging_});
  EXPECT_EQ(info["pool"]["name"], "two");
  EXPECT_EQ(info["pool"]["active"], false);
  ASSERT_EQ(info["devices"].size(), 2u);
  EXPECT_EQ(info["devices"][0]["superblocks"], (Json{"good", "good"}));
  ASSERT_EQ(info["space"].size(), 2u);
  const Json& space = info["space"][0];
  EXPECT_EQ(space["zones"], 128);
  EXPECT_EQ(space["usable"].get<int>() + space["spare"].get<int>(), 128);
  EXPECT_EQ(space["used"].get<int>() + space["free"].get<int>() + space["free_spare"].get<int>(),
            128);
  EXPECT_EQ(info["spares"][0]["percent"], 5);
  EXPECT_EQ(info["objects"], (Json{{"mblocks", 0}, {"mlogs", 2}}));
  EXPECT_EQ(info["config"]["label"], "raw");
  EXPECT_EQ(file_digest(image_), before);
}

TEST_F(InfoTest, PrintsText) {
  make_two_devices();
  const Result result = mpool_command({"info", image_ + "," + staging_});
  EXPECT_EQ(result.status, kSuccess) << result.err;
  EXPECT_THAT(result.out, StartsWith("pool      two\n"));
  EXPECT_THAT(result.out, HasSubstr("0 mblocks, 2 mlogs"));
  EXPECT_THAT(result.out, HasSubstr("good, good"));
}

TEST_F(InfoTest, ShowsSuperblocksOnlyOfAnActivePool) {
  make_pool("data", image_);
  const auto lock = open_device(image_, OpenMode::activate);
  const Json info = mpool_json({"info", "--json", image_});
  EXPECT_EQ(info["pool"]["name"], "data");
  EXPECT_EQ(info["pool"]["active"], true);
  EXPECT_EQ(info["devices"][0]["zone_size"], kMiB);
  EXPECT_FALSE(info.contains("space"));
  EXPECT_THAT(mpool_command({"info", image_}).out, HasSubstr("active    yes"));
}

TEST_F(InfoTest, ShowsADamagedSuperblock) {
  make_pool("data", image_);
  write_bytes(image_, 16, "damage");
  const Json info = mpool_json({"info", "--json", image_});
  EXPECT_EQ(info["pool"]["name"], "data");
  EXPECT_NE(info["devices"][0]["superblocks"][0], "good");
  EXPECT_EQ(info["devices"][0]["superblocks"][1], "good");
}

TEST_F(InfoTest, FailsWithBothSuperblocksDamaged) {
  make_pool("data", image_);
  damage_superblocks();
  const Result result = mpool_command({"info", image_});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_THAT(result.err, StartsWith("mpool info: " + image_ + ": no mpool found"));
}

TEST_F(InfoTest, ShowsWhatItCanOfATruncatedImage) {
  make_pool("data", image_);
  std::filesystem::resize_file(image_, 64 * kMiB);
  const Result result = mpool_command({"info", "--json", image_});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_THAT(result.err, StartsWith("mpool info: "));
  const Json info = Json::parse(result.out);
  EXPECT_EQ(info["pool"]["name"], "data");
  EXPECT_TRUE(info["pool"].contains("error"));
}

TEST_F(InfoTest, NamesTheMissingStagingDevice) {
  make_two_devices();
  const Result result = mpool_command({"info", image_});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_THAT(result.err, HasSubstr("staging device"));
  EXPECT_THAT(result.err, HasSubstr("DEV,DEV"));
}

TEST_F(InfoTest, RefusesDevicesOfTwoPools) {
  make_pool("one", image_);
  make_pool("other", staging_);
  const Result result = mpool_command({"info", image_ + "," + staging_});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_THAT(result.err, HasSubstr("belongs to pool other"));
}

TEST_F(InfoTest, FailsForAPoolThatIsNotThere) {
  for (const std::string pool :
       {"no-such-pool-here", "UUID=00000000-0000-0000-0000-000000000001", "/no/such/file"}) {
    const Result result = mpool_command({"info", pool});
    EXPECT_EQ(result.status, kFailure) << pool;
    EXPECT_THAT(result.err, StartsWith("mpool info: ")) << pool;
  }
}

}  // namespace
}  // namespace mpool::tools

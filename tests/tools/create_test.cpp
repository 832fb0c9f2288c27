#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "engine/io/open.h"
#include "engine/io/probe.h"
#include "tests/tools/support.h"
#include "tools/commands.h"

namespace mpool::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class CreateTest : public ::testing::Test {
 protected:
  const test::TemporaryDirectory directory_;
  const std::string image_ = directory_ / "pool.img";
  const std::string staging_ = directory_ / "staging.img";

  // Expects a refusal that leaves the image unchanged.
  void expect_refused(const std::vector<std::string>& arguments, const std::string& message) {
    const std::string before = file_digest(image_);
    const Result result = mpool_command(arguments);
    EXPECT_EQ(result.status, kFailure);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, StartsWith("mpool create: " + image_ + ": "));
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_EQ(file_digest(image_), before);
  }
};

TEST_F(CreateTest, MakesAFileAndSaysHowToMountIt) {
  const Result result = mpool_command({"create", "--size", "128M", "data", image_});
  ASSERT_EQ(result.status, kSuccess) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(result.out, HasSubstr("Pool data is made."));
  EXPECT_THAT(result.out, HasSubstr("zones of 1 MiB"));
  EXPECT_THAT(result.out, HasSubstr("mpoolfs " + image_ + " MOUNTPOINT"));
  EXPECT_EQ(std::filesystem::file_size(image_), 128 * kMiB);
}

TEST_F(CreateTest, TheRootBelongsToTheCaller) {
  make_pool("data", image_);
  const Json config = mpool_json({"info", "--json", image_})["config"];
  EXPECT_EQ(config["uid"], ::getuid());
  EXPECT_EQ(config["gid"], ::getgid());
  EXPECT_EQ(config["mode"], 0755);
}

TEST_F(CreateTest, TheRootBelongsToTheUserGiven) {
  const Result result = mpool_command({"create", "--size", "128M", "--uid", "daemon", "--gid",
                                       "4321", "--mode", "2770", "data", image_});
  EXPECT_EQ(result.status, kSuccess) << result.err;
  EXPECT_THAT(result.out, HasSubstr("owner 1:4321, mode 2770"));
  EXPECT_THAT(mpool_command({"info", image_}).out, HasSubstr("owner 1:4321, mode 2770"));
  EXPECT_EQ(mpool_command({"set", image_, "uid=root", "gid=daemon"}).status, kSuccess);
  EXPECT_THAT(mpool_command({"info", image_}).out, HasSubstr("owner 0:1, mode 2770"));
}

TEST_F(CreateTest, RefusesAnOwnerThatDoesNotExist) {
  for (const auto& [option, value] :
       {std::pair("--uid", "no-such-user"), std::pair("--uid", "4294967295"),
        std::pair("--uid", "-1"), std::pair("--uid", ""), std::pair("--gid", "no-such-group"),
        std::pair("--gid", "1x"), std::pair("--mode", "10000"), std::pair("--mode", "u+w")}) {
    const Result result =
        mpool_command({"create", "--size", "128M", option, value, "data", image_});
    EXPECT_EQ(result.status, kUsage) << option << value;
    EXPECT_THAT(result.err, HasSubstr(option)) << value;
  }
  EXPECT_FALSE(std::filesystem::exists(image_));
}

TEST_F(CreateTest, IsSeenByBlkid) {
  make_pool("data", image_);
  const Json info = mpool_json({"info", "--json", image_});
  const auto signature = probe_signature(image_);
  ASSERT_TRUE(signature);
  EXPECT_EQ(signature->type, "mpool");
  EXPECT_EQ(signature->label, "data");
  EXPECT_EQ(info["pool"]["uuid"], signature->uuid);
}

TEST_F(CreateTest, UsesAnEmptyFileThatExists) {
  make_empty_file(image_, 128 * kMiB);
  EXPECT_EQ(mpool_command({"create", "data", image_}).status, kSuccess);
}

TEST_F(CreateTest, ObeysItsOptions) {
  const Json json = mpool_json({"create", "--json", "--size", "256M", "--zone-size", "2M",
                                "--staging", staging_, "--staging-size", "64M", "--mdc-count", "3",
                                "--spare", "20", "--label", "my label", "two", image_});
  EXPECT_EQ(json["pool"]["name"], "two");
  EXPECT_EQ(json["pool"]["mdc_count"], 3);
  EXPECT_EQ(json["config"]["label"], "my label");
  ASSERT_EQ(json["devices"].size(), 2u);
  EXPECT_EQ(json["devices"][0]["class"], "capacity");
  EXPECT_EQ(json["devices"][0]["path"], image_);
  EXPECT_EQ(json["devices"][0]["zone_size"], 2 * kMiB);
  EXPECT_EQ(json["devices"][0]["zones"], 128);
  EXPECT_EQ(json["devices"][1]["class"], "staging");
  EXPECT_EQ(json["devices"][1]["path"], staging_);
  EXPECT_EQ(json["devices"][1]["size"], 64 * kMiB);
  ASSERT_EQ(json["spares"].size(), 2u);
  EXPECT_EQ(json["spares"][0], (Json{{"class", "capacity"}, {"percent", 20}}));
  ASSERT_EQ(json["space"].size(), 2u);
  EXPECT_EQ(json["space"][0]["usable"], 128 * 80 / 100);
  EXPECT_EQ(mpool_json({"info", "--json", image_ + "," + staging_})["pool"]["name"], "two");
}

TEST_F(CreateTest, TellsHowToMakeAFileThatIsMissing) {
  const Result result = mpool_command({"create", "data", image_});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_THAT(result.err, HasSubstr("--size"));
  EXPECT_FALSE(std::filesystem::exists(image_));
}

TEST_F(CreateTest, NeverMakesAFileThatExists) {
  make_empty_file(image_, 128 * kMiB);
  expect_refused({"create", "--size", "64M", "data", image_}, "exists");
  expect_refused({"create", "--force", "--size", "64M", "data", image_}, "exists");
}

TEST_F(CreateTest, NeverMakesAFileBelowDev) {
  const Result result = mpool_command({"create", "--size", "64M", "data", "/dev/mpool-test-image"});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_THAT(result.err, HasSubstr("/dev"));
  EXPECT_FALSE(std::filesystem::exists("/dev/mpool-test-image"));
}

TEST_F(CreateTest, RefusesAFileSystemUnlessForced) {
  make_empty_file(image_, 128 * kMiB);
  shell("mke2fs -q -t ext4 -L precious " + image_);
  expect_refused({"create", "data", image_}, "ext4 file system labelled \"precious\"");
  EXPECT_EQ(mpool_command({"create", "--force", "data", image_}).status, kSuccess);
  EXPECT_EQ(probe_signature(image_)->type, "mpool");
}

TEST_F(CreateTest, RefusesAPartitionTableUnlessForced) {
  make_empty_file(image_, 128 * kMiB);
  // One Linux partition from sector 2048, and the boot record's mark.
  write_bytes(image_, 440, std::string("\x12\x34\x56\x78", 4));
  write_bytes(image_, 446, std::string("\0\x20\x21\0\x83\x51\x01\x08\0\x08\0\0\0\x70\0\0", 16));
  write_bytes(image_, 510, "\x55\xaa");
  expect_refused({"create", "data", image_}, "dos partition table");
  EXPECT_EQ(mpool_command({"create", "--force", "data", image_}).status, kSuccess);
  EXPECT_EQ(probe_signature(image_)->type, "mpool");
}

TEST_F(CreateTest, RefusesAPoolUnlessForced) {
  make_pool("old", image_);
  const Json old = mpool_json({"info", "--json", image_});
  expect_refused({"create", "new", image_}, "mpool labelled \"old\"");
  const Json made = mpool_json({"create", "--json", "--force", "new", image_});
  EXPECT_EQ(made["pool"]["name"], "new");
  EXPECT_NE(made["pool"]["uuid"], old["pool"]["uuid"]);
}

TEST_F(CreateTest, RefusesAPoolWithoutItsFirstSuperblock) {
  make_pool("old", image_);
  write_bytes(image_, 0, std::string(512, '\0'));
  expect_refused({"create", "new", image_}, "damaged mpool \"old\"");
}

TEST_F(CreateTest, RefusesAnActivePoolEvenWhenForced) {
  make_pool("old", image_);
  const auto lock = open_device(image_, OpenMode::activate);
  expect_refused({"create", "new", image_}, "in use");
  expect_refused({"create", "--force", "new", image_}, "in use");
}

TEST_F(CreateTest, ChangesNothingWhenTheStagingDeviceIsRefused) {
  make_empty_file(image_, 128 * kMiB);
  make_pool("old", staging_);
  const std::string before = file_digest(image_);
  const Result result = mpool_command({"create", "--staging", staging_, "data", image_});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_THAT(result.err, HasSubstr(staging_ + ": not empty: mpool labelled \"old\""));
  EXPECT_EQ(file_digest(image_), before);
}

// Everything is written except the last step: the superblocks of the capacity device, or the
// second.
TEST_F(CreateTest, AnInterruptedCreationIsNamedAndMadeAnew) {
  const std::vector<std::string> arguments{"--staging", staging_, "two", image_};
  const auto create = [&](const char* option) {
    std::vector<std::string> all{"create"};
    if (*option != '\0') all.emplace_back(option);
    all.insert(all.end(), arguments.begin(), arguments.end());
    return mpool_command(all);
  };
  const std::string both = image_ + "," + staging_;
  make_empty_file(image_, 128 * kMiB);
  make_empty_file(staging_, 64 * kMiB);
  ASSERT_EQ(create("").status, kSuccess);
  const std::string zeros(4096, '\0');
  write_bytes(image_, 8192, zeros);
  // The pool is intact: its second superblock is written again.
  EXPECT_EQ(mpool_command({"check", "--repair", both}).status, kCorrected);
  EXPECT_EQ(mpool_command({"check", both}).status, kSuccess);

  write_bytes(image_, 0, zeros);
  write_bytes(image_, 8192, zeros);
  const Result refused = create("");
  EXPECT_EQ(refused.status, kFailure);
  EXPECT_THAT(refused.err, HasSubstr(staging_ + ": not empty: the staging device of pool two"));
  EXPECT_THAT(refused.err, HasSubstr("interrupted; use --force"));
  EXPECT_EQ(mpool_command({"check", both}).status, kErrorsLeft);
  EXPECT_EQ(create("--force").status, kSuccess);
  EXPECT_EQ(mpool_command({"check", both}).status, kSuccess);
}

TEST_F(CreateTest, RefusesOneDeviceForBothClasses) {
  make_empty_file(image_, 128 * kMiB);
  std::filesystem::create_symlink(image_, staging_);
  const Result result = mpool_command({"create", "--staging", staging_, "data", image_});
  EXPECT_EQ(result.status, kUsage);
  EXPECT_THAT(result.err, HasSubstr("same device"));
}

TEST_F(CreateTest, RemovesAFileThatItMadeInVain) {
  const Result small = mpool_command({"create", "--size", "64K", "data", image_});
  EXPECT_EQ(small.status, kFailure);
  EXPECT_FALSE(std::filesystem::exists(image_));
  const Result staging =
      mpool_command({"create", "--size", "128M", "--staging", staging_, "data", image_});
  EXPECT_EQ(staging.status, kFailure);
  EXPECT_THAT(staging.err, HasSubstr("--staging-size"));
  EXPECT_FALSE(std::filesystem::exists(image_));
}

TEST_F(CreateTest, RefusesADeviceWithoutRoomForSuperblocks) {
  make_empty_file(image_, 4096);
  expect_refused({"create", "data", image_}, "too small");
  expect_refused({"create", "--force", "data", image_}, "too small");
}

TEST_F(CreateTest, RefusesWhatIsNoDevice) {
  const Result result = mpool_command({"create", "data", "/dev/null"});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_THAT(result.err, HasSubstr("neither a block device nor a regular file"));
}

class BadPoolName : public CreateTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(BadPoolName, IsRefused) {
  const Result result = mpool_command({"create", "--size", "128M", "--", GetParam(), image_});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_THAT(result.err, StartsWith("mpool create: "));
  EXPECT_FALSE(std::filesystem::exists(image_));
}

INSTANTIATE_TEST_SUITE_P(CreateTest, BadPoolName,
                         ::testing::Values(std::string(32, 'n'), "a/b", "a,b", "a b", "-a", ".a",
                                           "UUID=a", "\xc3\xa4"));

TEST_F(CreateTest, RefusesAZoneSizeThatIsNoPowerOfTwo) {
  const Result result =
      mpool_command({"create", "--size", "128M", "--zone-size", "3M", "data", image_});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_FALSE(std::filesystem::exists(image_));
}

}  // namespace
}  // namespace mpool::tools

// The sub-commands that change a pool, and those that show the changes.
#include <regex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/io/open.h"
#include "tests/tools/support.h"
#include "tools/commands.h"
#include "tools/settings.h"

namespace mpool::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class ChangesTest : public ::testing::Test {
 protected:
  ChangesTest() { make_pool("data", image_); }

  // Runs it, and expects it to fail with this status and a message that has `text` in it.
  void expect_failure(const std::vector<std::string>& arguments, int status,
                      const std::string& text) {
    const Result result = mpool_command(arguments);
    EXPECT_EQ(result.status, status) << text;
    EXPECT_THAT(result.err, StartsWith("mpool " + arguments.front() + ": "));
    EXPECT_THAT(result.err, HasSubstr(text));
    EXPECT_EQ(result.out, "");
  }
  std::string success(const std::vector<std::string>& arguments) {
    const Result result = mpool_command(arguments);
    EXPECT_EQ(result.status, kSuccess) << result.err;
    EXPECT_EQ(result.err, "");
    return result.out;
  }
  void add_staging() { success({"add", "--size", "64M", image_, staging_}); }

  const test::TemporaryDirectory directory_;
  const std::string image_ = directory_ / "pool.img";
  const std::string staging_ = directory_ / "staging.img";
  const std::string both_ = image_ + "," + staging_;
};

TEST_F(ChangesTest, AddGivesAStagingDevice) {
  const std::string said =
      success({"add", "--size", "64M", "--zone-size", "2M", "--spare", "25", image_, staging_});
  EXPECT_THAT(said, HasSubstr("Pool data has a staging device: " + staging_ +
                              ", 64 MiB, zones of "
                              "2 MiB"));
  const Json info = mpool_json({"info", "--json", both_});
  EXPECT_EQ(info["devices"].size(), 2u);
  EXPECT_EQ(info["devices"][1]["zone_size"], 2 * kMiB);
  EXPECT_EQ(info["spares"][1]["percent"], 25);
  EXPECT_THAT(shell("blkid -p -o export " + staging_), HasSubstr("LABEL=data\n"));
  expect_failure({"get", image_}, kFailure, "staging device is missing");
  expect_failure({"add", image_ + "," + staging_, directory_ / "third.img"}, kFailure,
                 "has a staging device already: " + staging_);
}

TEST_F(ChangesTest, AddOffersJson) {
  const Json added = mpool_json({"add", "--json", "--size", "64M", image_, staging_});
  EXPECT_EQ(added["pool"]["name"], "data");
  EXPECT_EQ(added["devices"][1]["path"], staging_);
  EXPECT_EQ(added["space"][1]["class"], "staging");
}

TEST_F(ChangesTest, AddRefusesADeviceWithSomethingOnIt) {
  make_empty_file(staging_, 64 * kMiB);
  shell("mke2fs -q -L mine " + staging_);
  expect_failure({"add", image_, staging_}, kFailure, "ext2 file system labelled \"mine\"");
  EXPECT_THAT(shell("blkid -p -o export " + staging_), HasSubstr("TYPE=ext2"));
  success({"add", "--force", image_, staging_});
  EXPECT_THAT(shell("blkid -p -o export " + staging_), HasSubstr("TYPE=mpool"));
  success({"info", both_});
}

TEST_F(ChangesTest, AddRefusesADeviceThatCannotBe) {
  expect_failure({"add", image_, image_}, kFailure, "is a device of pool");
  expect_failure({"add", image_, staging_}, kFailure, "no such device or file");
  expect_failure({"add", "--size", "16K", image_, staging_}, kFailure, "too small");
  EXPECT_FALSE(std::filesystem::exists(staging_)) << "the image of a failed command is left";
  expect_failure({"add", "--zone-size", "5000", "--size", "64M", image_, staging_}, kFailure,
                 "power of two");
  expect_failure({"add", "--spare", "101", "--size", "64M", image_, staging_}, kUsage, "101");
  EXPECT_FALSE(std::filesystem::exists(staging_));
  make_pool("other", staging_);
  expect_failure({"add", image_, staging_}, kFailure, "mpool");
  EXPECT_EQ(mpool_json({"info", "--json", image_})["devices"].size(), 1u);
}

// As an interrupted addition by another program leaves it (refpools: f19): known by its
// superblocks, unknown to MDC0.
TEST_F(ChangesTest, AddTakesItsOwnDeviceAgain) {
  const std::string before = directory_ / "before.img";
  std::filesystem::copy_file(image_, before);
  add_staging();
  std::filesystem::rename(before, image_);
  expect_failure({"get", both_}, kFailure, "can be added again");
  success({"add", image_ + "," + staging_, staging_});
  success({"info", both_});
}

TEST_F(ChangesTest, GrowTakesTheRoomOfAFile) {
  add_staging();
  EXPECT_EQ(success({"grow", both_}), "capacity " + image_ + ": 128 MiB as before\nstaging " +
                                          staging_ + ": 64 MiB as before\n");
  std::filesystem::resize_file(image_, 200 * kMiB);
  EXPECT_THAT(success({"grow", both_}),
              HasSubstr("capacity " + image_ + ": grew from 128 MiB to 200 MiB, 72 zones more\n"));
  std::filesystem::resize_file(staging_, 100 * kMiB);
  const Json grown = mpool_json({"grow", "--json", both_});
  EXPECT_EQ(grown["devices"][0]["size"], 200 * kMiB);
  EXPECT_EQ(grown["devices"][1]["size"], 100 * kMiB);
  EXPECT_EQ(mpool_json({"df", "--json", both_})[0]["total"]["total_bytes"], 300 * kMiB);
  std::filesystem::resize_file(image_, 150 * kMiB);
  expect_failure({"grow", both_}, kFailure, image_ + ": has");
}

TEST_F(ChangesTest, RenameIsSeenByAll) {
  add_staging();
  EXPECT_THAT(success({"rename", both_, "new-name"}), StartsWith("Pool data (UUID "));
  for (const std::string& path : {image_, staging_})
    EXPECT_THAT(shell("blkid -p -o export " + path), HasSubstr("LABEL=new-name\n"));
  EXPECT_EQ(mpool_json({"info", "--json", both_})["pool"]["name"], "new-name");
  expect_failure({"rename", both_, "a/b"}, kFailure, "a pool name has");
  expect_failure({"rename", both_}, kUsage, "POOL NAME");
}

TEST_F(ChangesTest, SetAndGetAreInverse) {
  add_staging();
  const std::vector<std::string> settings = {"spare.capacity=7",
                                             "spare.staging=0",
                                             "uid=1000",
                                             "gid=4294967294",
                                             "mode=1750",
                                             "label=two words = one label",
                                             "user_type=01234567-89ab-cdef-0123-456789abcdef",
                                             "readahead=4100K",
                                             "map_size=8E"};
  std::vector<std::string> arguments = {"set", both_};
  arguments.insert(arguments.end(), settings.begin(), settings.end());
  EXPECT_EQ(success(arguments), "");
  std::string expected;
  for (const std::string& setting : settings) {
    expected += setting + "\n";
    const std::size_t equals = setting.find('=');
    EXPECT_EQ(success({"get", both_, setting.substr(0, equals)}),
              setting.substr(equals + 1) + "\n");
  }
  EXPECT_EQ(success({"get", both_}), expected);
  EXPECT_EQ(success({"get", both_, "gid", "uid"}), "gid=4294967294\nuid=1000\n");
  const Json all = mpool_json({"get", "--json", both_});
  EXPECT_EQ(all["spare.capacity"], 7);
  EXPECT_EQ(all["mode"], 01750);
  EXPECT_EQ(all["readahead"], 4100 * 1024);
  EXPECT_EQ(all["map_size"], std::uint64_t{1} << 63);
  EXPECT_EQ(all["label"], "two words = one label");
  EXPECT_EQ(mpool_json({"info", "--json", both_})["config"]["uid"], 1000);
  EXPECT_EQ(success({"set", both_, "label="}), "");
  EXPECT_EQ(success({"get", both_, "label"}), "\n");
}

TEST_F(ChangesTest, SetRefusesWhatCannotBeAndChangesNothing) {
  const std::string before = success({"get", image_});
  for (const std::string bad :
       {"spare.capacity=101", "spare.capacity=-1", "spare.capacity=", "uid=no.such.user",
        "uid=4294967295", "gid=1.5", "mode=888", "mode=10000", "user_type=x", "readahead=1000",
        "readahead=16385G", "map_size=3G", "map_size=1K", "map_size=0", "nothing=1", "label",
        "=1"}) {
    const Result result = mpool_command({"set", image_, "uid=5", bad});
    EXPECT_EQ(result.status, kUsage) << bad;
    EXPECT_THAT(result.err, StartsWith("mpool set: ")) << bad;
  }
  expect_failure({"set", image_, "label=" + std::string(64, 'x')}, kUsage, "63 bytes");
  expect_failure({"set", image_, "uid=5", "spare.capacity=9", "spare.staging=9"}, kFailure,
                 "no staging device");
  expect_failure({"set", image_}, kUsage, "KEY=VALUE");
  EXPECT_EQ(success({"get", image_}), before);
}

TEST_F(ChangesTest, GetRefusesWhatIsNotThere) {
  expect_failure({"get", image_, "nothing"}, kUsage, "is no setting");
  expect_failure({"get", image_, "spare.staging"}, kFailure, "no staging device");
}

TEST_F(ChangesTest, EveryKeyIsInTheHelpTheManualAndTheCompletion) {
  const std::string set_help = success({"set", "--help"});
  EXPECT_THAT(success({"get", "--help"}), HasSubstr(describe_settings()));
  const std::string manual = shell("cat " MPOOLFS_SOURCE_ROOT "/man/mpool.8.scd");
  std::string keys;
  for (const std::string_view key : setting_keys()) {
    EXPECT_THAT(set_help, HasSubstr(fmt::format("\n  {} ", key)));
    EXPECT_THAT(manual, HasSubstr(fmt::format("*{}*", key)));
    keys += fmt::format("{}{}", keys.empty() ? "" : " ", key);
  }
  EXPECT_THAT(shell("cat " MPOOLFS_SOURCE_ROOT "/tools/completion/mpool"),
              HasSubstr("keys='" + keys + "'"));
}

TEST_F(ChangesTest, DfShowsClassesAndTheirTotal) {
  EXPECT_THAT(success({"df", image_}), ::testing::Not(HasSubstr("total")));
  add_staging();
  const std::string other = directory_ / "other.img";
  make_pool("other", other);
  const std::string image_before = file_digest(image_);
  const std::string table = success({"df", both_, other});
  EXPECT_EQ(file_digest(image_), image_before) << "df wrote to the device";
  EXPECT_TRUE(std::regex_search(table, std::regex("data +total +192 MiB"))) << table;
  EXPECT_TRUE(std::regex_search(table, std::regex("other +capacity +128 MiB"))) << table;

  const Json usages = mpool_json({"df", "--json", both_, other});
  ASSERT_EQ(usages.size(), 2u);
  EXPECT_EQ(usages[1]["pool"]["name"], "other");
  EXPECT_EQ(usages[0]["mounted_on"], nullptr);
  const Json& classes = usages[0]["classes"];
  const Json space = mpool_json({"info", "--json", both_})["space"];
  for (const char* bytes : {"total_bytes", "used_bytes", "free_bytes", "spare_bytes"}) {
    const auto sum =
        classes[0][bytes].get<std::uint64_t>() + classes[1][bytes].get<std::uint64_t>();
    EXPECT_EQ(usages[0]["total"][bytes], sum);
  }
  EXPECT_EQ(classes[0]["used"], space[0]["used"]);
  EXPECT_EQ(classes[0]["used_bytes"],
            space[0]["used"].get<std::uint64_t>() * space[0]["zone_size"].get<std::uint64_t>());
}

TEST_F(ChangesTest, DfGoesOnAfterAPoolItCannotShow) {
  const Result result = mpool_command({"df", "/no/such/file", image_});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_THAT(result.err, StartsWith("mpool df: /no/such/file: "));
  EXPECT_THAT(result.out, HasSubstr("data"));
}

TEST_F(ChangesTest, RefuseAPoolInUse) {
  const auto lock = open_device(image_, OpenMode::activate);
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"add", "--size", "64M", image_, staging_},
        {"rename", image_, "other"},
        {"get", image_}}) {
    const Result result = mpool_command(arguments);
    EXPECT_EQ(result.status, kFailure);
    EXPECT_THAT(result.err, HasSubstr("in use"));
    EXPECT_THAT(result.err, HasSubstr("umount"));
  }
  EXPECT_FALSE(std::filesystem::exists(staging_));
}

}  // namespace
}  // namespace mpool::tools

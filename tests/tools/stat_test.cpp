#include "tools/stat.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tools/support.h"
#include "tools/context.h"

namespace mpool::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

using Status = mpoolfs::Json;

Status status(std::uint64_t count) {
  const Status device = {{"reads", count},
                         {"read_bytes", count << 20},
                         {"writes", 2 * count},
                         {"written_bytes", count << 21}};
  return {{"devices", {device, device}},
          {"native", {{"opens", count}}},
          {"reaper",
           {{"resident_pages", {{"cold", 256}, {"warm", 0}, {"hot", 512}, {"pinned", 0}}},
            {"evicted_pages", 10 * count},
            {"skipped_pages", count},
            {"over_evicted_pages", count},
            {"evicting", true},
            {"ttl_us", 2500},
            {"free_bytes", 3u << 20},
            {"low_bytes", 5u << 20},
            {"high_bytes", 6u << 20}}}};
}

TEST(Stat, ShowsRatesOfAllDevices) {
  const auto found = activity(status(10), status(30), 2);
  EXPECT_EQ(found["reads_per_second"], 20);
  EXPECT_EQ(found["written_bytes_per_second"], 40 << 20);
  EXPECT_EQ(found["native_opens_per_second"], 10);
  EXPECT_EQ(found["evicted_pages_per_second"], 100);
  EXPECT_EQ(found["ttl_us"], 2500);
  EXPECT_EQ(found["evicting"], true);
  EXPECT_EQ(found["high_bytes"], 6u << 20);
  EXPECT_EQ(activity_line(found),
            "     20     20.0      40     40.0      10      1.0      0.0      2.0      0.0     100 "
            "     10"
            "      10      2.5        3        5\n");
  EXPECT_EQ(activity_heading().size(), activity_line(found).size());
}

// The pool was mounted anew.
TEST(Stat, ShowsNoNegativeRates) {
  EXPECT_EQ(activity(status(30), status(10), 1)["reads_per_second"], 0);
}

class StatCommand : public ::testing::Test {
 protected:
  StatCommand() {
    std::filesystem::create_directory(directory_ / ".mpool");
    const std::string file = directory_ / ".mpool/status.json";
    make_empty_file(file, 0);
    write_bytes(file, 0, status(5).dump());
  }

  const test::TemporaryDirectory directory_;
};

TEST_F(StatCommand, PrintsALineForEachInterval) {
  const std::string mount = directory_.path().string();
  const Result table = mpool_command({"stat", "--count", "2", mount, "0.01"});
  EXPECT_EQ(table.status, kSuccess) << table.err;
  EXPECT_THAT(table.out, StartsWith(activity_heading()));
  EXPECT_EQ(std::ranges::count(table.out, '\n'), 3);
  const Result json = mpool_command({"stat", "--json", "--count", "1", mount, "0.01"});
  EXPECT_EQ(Json::parse(json.out)["ttl_us"], 2500);
}

TEST_F(StatCommand, Errors) {
  const std::string mount = directory_.path().string();
  EXPECT_THAT(mpool_command({"stat", mount, "0"}).err, HasSubstr("\"0\" is no number of seconds"));
  EXPECT_EQ(mpool_command({"stat"}).status, kUsage);
  const std::string image = directory_ / "image";
  make_pool("idle", image);
  EXPECT_THAT(mpool_command({"stat", image}).err, HasSubstr("pool idle: is not mounted"));
  std::filesystem::remove(directory_ / ".mpool/status.json");
  EXPECT_THAT(mpool_command({"stat", mount}).err, HasSubstr("status.json: cannot be read"));
}

}  // namespace
}  // namespace mpool::tools

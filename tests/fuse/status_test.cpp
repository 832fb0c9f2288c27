#include "fuse/control/status.h"

#include <set>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/engine/pool/pool_support.h"

namespace mpoolfs {
namespace {

using Json = nlohmann::json;

std::set<std::string> keys(const Json& object) {
  std::set<std::string> names;
  for (const auto& [name, value] : object.items())
    names.insert(name);
  return names;
}

TEST(Status, SaysWhatThePoolAndTheMountAre) {
  const auto media = mpool::test::create(mpool::test::small_options());
  const auto pool = mpool::test::activate({media});
  mpool::test::add_mblock(*pool);
  Options options;
  options.mount_point = "/some/where\xff";
  options.read_only = true;
  options.uid = 12;
  options.native = NativeChoice::off;
  const MountInfo mount{
      .options = options,
      .foreign = false,
      .open_files = 5,
      .transport = {.name = "dev",
                    .reason = "why not uring",
                    .queues = 2,
                    .threads = 6,
                    .max_write = 1 << 20},
      .native = {.state = "waiting",
                 .reason = "why",
                 .files = 7,
                 .views = 2,
                 .opens = 9,
                 .served = 4,
                 .kept = 1},
      .reaper = {.counts = {.chunks = 6,
                            .resident = {1, 2, 3, 4},
                            .evicted = 10,
                            .skipped = 20,
                            .over_evicted = 5},
                 .evicts = true,
                 .ttl = std::chrono::milliseconds(3),
                 .read_ahead_cut = mpool::ReadAheadCut::cold,
                 .free = 100,
                 .low = 200,
                 .high = 300},
      .metadata = {.capacity = 300, .used = 200, .live = 100, .possible_capacity = 400},
      .packs = {.packs = 1, .files = 2, .capacity = 300, .live = 100},
      .reads = 11};
  const std::string text = status_text(*pool, mount);
  EXPECT_TRUE(text.ends_with("}\n"));
  const Json status = Json::parse(text);

  EXPECT_EQ(keys(status),
            (std::set<std::string>{"version", "pool", "options", "transport", "native", "reaper",
                                   "requests", "devices", "classes", "mdcs", "root_mdc", "objects",
                                   "packs", "jobs", "open_files"}));
  EXPECT_EQ(status["version"], MPOOLFS_VERSION);
  EXPECT_EQ(status["pool"], Json({{"name", "p"},
                                  {"uuid", pool->uuid().to_string()},
                                  {"mounted_on", "/some/where\xef\xbf\xbd"},
                                  {"read_only", true},
                                  {"foreign", false},
                                  {"damage", Json::array()}}));
  EXPECT_EQ(status["options"], Json({{"sync", false},
                                     {"force", false},
                                     {"uid", 12},
                                     {"gid", nullptr},
                                     {"transport", "auto"},
                                     {"native", "off"},
                                     {"workers", 32},
                                     {"pack_max", nullptr}}));
  EXPECT_EQ(status["transport"], Json({{"name", "dev"},
                                       {"reason", "why not uring"},
                                       {"queues", 2},
                                       {"threads", 6},
                                       {"max_write", 1 << 20}}));
  EXPECT_EQ(status["native"], Json({{"state", "waiting"},
                                    {"reason", "why"},
                                    {"files", 7},
                                    {"views", 2},
                                    {"opens", 9},
                                    {"served_opens", 4},
                                    {"kept", 1}}));
  EXPECT_EQ(status["reaper"],
            Json({{"chunks", 6},
                  {"resident_pages", {{"cold", 1}, {"warm", 2}, {"hot", 3}, {"pinned", 4}}},
                  {"evicted_pages", 10},
                  {"skipped_pages", 20},
                  {"over_evicted_pages", 5},
                  {"evicting", true},
                  {"ttl_us", 3000},
                  {"read_ahead_cut", "cold"},
                  {"free_bytes", 100},
                  {"low_bytes", 200},
                  {"high_bytes", 300}}));
  EXPECT_EQ(status["requests"], Json({{"read", 11}}));
  EXPECT_EQ(status["packs"], Json({{"count", 1}, {"files", 2}, {"capacity", 300}, {"live", 100}}));
  EXPECT_EQ(status["root_mdc"],
            Json({{"capacity", 300}, {"used", 200}, {"live", 100}, {"possible_capacity", 400}}));
  EXPECT_EQ(status["objects"], Json({{"mblocks", 1}, {"mlogs", 2}}));
  ASSERT_EQ(status["jobs"].size(), 3u) << "discards, MDCs and space";
  EXPECT_EQ(status["jobs"][0], Json({{"name", "discard-capacity"},
                                     {"state", "idle"},
                                     {"priority", "low"},
                                     {"done", 0},
                                     {"total", 0},
                                     {"bytes", 0},
                                     {"bytes_per_second", 4ull << 30}}));
  EXPECT_EQ(status["open_files"], 5);

  ASSERT_EQ(status["mdcs"].size(), 3u) << "MDC0 and two";
  EXPECT_EQ(status["mdcs"][2]["slot"], 2);
  EXPECT_EQ(status["mdcs"][0]["active"],
            pool->mdcs()[0].mdc.ids[pool->mdcs()[0].mdc.active].to_string());
  EXPECT_GT(status["mdcs"][0]["capacity"], status["mdcs"][0]["used"]);
}

TEST(Status, CountsSpaceAndTransfers) {
  const auto media = mpool::test::create(mpool::test::small_options());
  const auto pool = mpool::test::activate({media});
  const Json before = Json::parse(status_text(*pool, {}));
  mpool::test::add_mblock(*pool);
  const Json after = Json::parse(status_text(*pool, {}));

  ASSERT_EQ(after["classes"].size(), 1u);
  const Json& space = after["classes"][0];
  EXPECT_EQ(space["class"], "capacity");
  EXPECT_EQ(space["zone_size"], 64 * 1024);
  EXPECT_EQ(space["zones"], 16 * 16);
  EXPECT_EQ(space["total_bytes"], 16 << 20);
  EXPECT_EQ(space["used"], before["classes"][0]["used"].get<int>() + 1);
  EXPECT_EQ(space["free_bytes"],
            before["classes"][0]["free_bytes"].get<std::int64_t>() - 64 * 1024);

  ASSERT_EQ(after["devices"].size(), 1u);
  const Json& device = after["devices"][0];
  EXPECT_EQ(device["path"], "device0");
  EXPECT_EQ(device["offline"], false);
  EXPECT_EQ(device["errors"], 0);
  for (const char* counter : {"reads", "read_bytes", "writes", "written_bytes", "flushes"}) {
    EXPECT_GT(device[counter], 0) << counter;
  }
  EXPECT_GT(device["writes"], before["devices"][0]["writes"]) << "the record of the mblock";
}

}  // namespace
}  // namespace mpoolfs

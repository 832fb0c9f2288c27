#include "fuse/control/metrics_file.h"

#include <map>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/pool/pool_support.h"

namespace mpoolfs {
namespace {

using testing::HasSubstr;

// The samples, by name and labels.
std::map<std::string, std::string> samples(const mpool::Pool& pool, const MountInfo& mount = {}) {
  std::map<std::string, std::string> found;
  std::istringstream lines(metrics_text(pool, mount));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#')) continue;
    const std::size_t space = line.rfind(' ');
    EXPECT_TRUE(found.emplace(line.substr(0, space), line.substr(space + 1)).second) << line;
  }
  return found;
}

constexpr const char* kWrites = R"(mpoolfs_device_writes_total{class="capacity",device="device0"})";

TEST(MetricsFile, ShowsWhatIsCountedAndWhatTheStatusShows) {
  const auto media = mpool::test::create(mpool::test::small_options());
  const auto pool = mpool::test::activate({media});
  mpool::test::add_mblock(*pool);
  pool->metrics().counter("mpoolfs_test_total", "A test", {{"name", "a\"b\\\n"}}).add(7);
  pool->metrics().histogram("mpoolfs_test_seconds", "Another").record(std::chrono::seconds(1));
  MountInfo mount;
  mount.open_files = 5;
  mount.native.views = 2;
  mount.metadata.used = 200;
  mount.packs = {.packs = 1, .files = 2, .capacity = 300, .live = 100};
  mount.reaper.counts = {
      .chunks = 3, .resident = {1, 2, 4, 8}, .evicted = 16, .skipped = 32, .over_evicted = 64};
  mount.reaper.evicts = true;
  mount.reaper.ttl = std::chrono::milliseconds(2500);
  mount.reaper.low = 4096;
  const std::string text = metrics_text(*pool, mount);
  EXPECT_THAT(text, HasSubstr("# HELP mpoolfs_test_total A test\n"
                              "# TYPE mpoolfs_test_total counter\n"
                              "mpoolfs_test_total{name=\"a\\\"b\\\\\\n\"} 7\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE mpoolfs_test_seconds histogram\n"
                              "mpoolfs_test_seconds_count 1\n"
                              "mpoolfs_test_seconds_sum 1\n"
                              "mpoolfs_test_seconds_bucket{le=\"4.096e-06\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("mpoolfs_test_seconds_bucket{le=\"+Inf\"} 1\n"));
  auto found = samples(*pool, mount);
  EXPECT_EQ(found["mpoolfs_open_files"], "5");
  EXPECT_EQ(found["mpoolfs_native_views"], "2");
  EXPECT_EQ(found["mpoolfs_root_mdc_used_bytes"], "200");
  EXPECT_EQ(found["mpoolfs_packs"], "1");
  EXPECT_EQ(found["mpoolfs_packed_files"], "2");
  EXPECT_EQ(found["mpoolfs_pack_capacity_bytes"], "300");
  EXPECT_EQ(found["mpoolfs_pack_live_bytes"], "100");
  EXPECT_EQ(found[R"(mpoolfs_reaper_resident_pages{advice="warm"})"], "2");
  EXPECT_EQ(found[R"(mpoolfs_reaper_resident_pages{advice="pinned"})"], "8");
  EXPECT_EQ(found["mpoolfs_reaper_chunks"], "3");
  EXPECT_EQ(found["mpoolfs_reaper_evicted_pages_total"], "16");
  EXPECT_EQ(found["mpoolfs_reaper_skipped_pages_total"], "32");
  EXPECT_EQ(found["mpoolfs_reaper_over_evicted_pages_total"], "64");
  EXPECT_EQ(found["mpoolfs_reaper_evicting"], "1");
  EXPECT_EQ(found["mpoolfs_reaper_ttl_seconds"], "2.5");
  EXPECT_EQ(found["mpoolfs_reaper_low_bytes"], "4096");
  EXPECT_EQ(found[R"(mpoolfs_objects{type="mblock"})"], "1");
  EXPECT_EQ(found[R"(mpoolfs_objects{type="mlog"})"], "2");
  EXPECT_EQ(found[R"(mpoolfs_zone_size_bytes{class="capacity"})"], "65536");
  EXPECT_EQ(found[kWrites],
            std::to_string(pool->device(mpool::MediaClass::capacity).counters().writes));
}

TEST(MetricsFile, TwoPoolsCountByThemselves) {
  const auto busy_media = mpool::test::create(mpool::test::small_options());
  const auto idle_media = mpool::test::create(mpool::test::small_options());
  const auto busy = mpool::test::activate({busy_media});
  const auto idle = mpool::test::activate({idle_media});
  const auto busy_before = samples(*busy);
  const auto idle_before = samples(*idle);
  mpool::test::add_mblock(*busy);
  EXPECT_NE(samples(*busy).at(kWrites), busy_before.at(kWrites));
  EXPECT_EQ(samples(*idle), idle_before);
}

}  // namespace
}  // namespace mpoolfs

#include "fuse/mount_table.h"

#include <filesystem>

#include <gtest/gtest.h>

namespace mpoolfs {
namespace {

TEST(Mounts, ParsesLines) {
  const auto entry = parse_mount_line(
      R"(99 30 0:77 / /mnt/a\040b rw,nosuid shared:5 master:1 - fuse.mpoolfs tank\134\011x rw,user_id=0)");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->device, "0:77");
  EXPECT_EQ(entry->mount_point, "/mnt/a b");
  EXPECT_EQ(entry->type, "fuse.mpoolfs");
  EXPECT_EQ(entry->source, "tank\\\tx");
  EXPECT_EQ(entry->id, 99u);
}

TEST(Mounts, IncompleteEscapesStay) {
  const auto entry = parse_mount_line(R"(1 2 0:1 / /a\04 rw - ext4 \9xx rw)");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->mount_point, R"(/a\04)");
  EXPECT_EQ(entry->source, R"(\9xx)");
}

TEST(Mounts, RefusesOtherLines) {
  EXPECT_FALSE(parse_mount_line(""));
  EXPECT_FALSE(parse_mount_line("1 2 0:1 / /a rw"));
  EXPECT_FALSE(parse_mount_line("1 2 0:1 / /a rw - ext4"));
}

TEST(Mounts, ReadsTheSystemsTable) {
  const auto mounts = read_mounts();
  ASSERT_FALSE(mounts.empty());
  EXPECT_TRUE(find_mount(mounts, "/proc"));
}

TEST(Mounts, FindsPools) {
  const std::vector<MountEntry> mounts = {{"0:1", "/a", "ext4", "tank"},
                                          {"0:2", "/b", "fuse.mpoolfs", "tank"},
                                          {"0:3", "/c", "fuse.mpoolfs", "/none/x,/none/y"}};
  const std::vector<std::string> none;
  const std::vector<std::string> tank{"other", "tank"};
  const std::vector<std::string> second_device{"/none/y"};
  EXPECT_EQ(find_pool_mount(mounts, tank, none)->mount_point, "/b");
  EXPECT_EQ(find_pool_mount(mounts, none, second_device)->mount_point, "/c");
  EXPECT_FALSE(find_pool_mount(mounts, std::vector<std::string>{"other"}, none));
  EXPECT_FALSE(find_pool_mount(mounts, none, std::vector<std::string>{"/none"}));
}

TEST(Mounts, ComparesDevicesByWhatTheyAre) {
  const std::vector<MountEntry> mounts = {{"0:3", "/c", "fuse.mpoolfs", "/proc/self/../1"}};
  const std::vector<std::string> paths{"/proc/1"};
  EXPECT_TRUE(find_pool_mount(mounts, {}, paths));
}

TEST(Mounts, CommasOfDevicePaths) {
  const std::vector<MountEntry> mounts = {{"0:3", "/c", "fuse.mpoolfs", "/none/x\\,y,/none/z"}};
  const std::vector<std::string> whole{"/none/x,y"};
  const std::vector<std::string> part{"/none/x"};
  EXPECT_TRUE(find_pool_mount(mounts, {}, whole));
  EXPECT_FALSE(find_pool_mount(mounts, {}, part));
}

TEST(Mounts, TheUppermostMountCounts) {
  const std::vector<MountEntry> mounts = {{"0:1", "/a", "ext4", "x"}, {"0:2", "/a", "xfs", "y"}};
  EXPECT_EQ(find_mount(mounts, "/a")->type, "xfs");
  EXPECT_FALSE(find_mount(mounts, "/b"));
}

}  // namespace
}  // namespace mpoolfs

#include "fuse/mount_flags.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mount.h>

namespace mpoolfs {
namespace {

unsigned long after(unsigned long flags, const std::vector<std::string>& options) {
  return apply_mount_flags(flags, options);
}

TEST(MountFlags, SetUserIdAndDevicesAreOffByDefault) {
  EXPECT_EQ(default_mount_flags(), static_cast<unsigned long>(MS_NOSUID | MS_NODEV));
}

TEST(MountFlags, AreSetAndCleared) {
  EXPECT_EQ(after(0, {"ro", "noexec", "noatime"}),
            static_cast<unsigned long>(MS_RDONLY | MS_NOEXEC | MS_NOATIME));
  EXPECT_EQ(after(MS_NOSUID | MS_NODEV | MS_RDONLY, {"suid", "dev", "rw"}), 0u);
  EXPECT_EQ(after(MS_NODEV, {}), static_cast<unsigned long>(MS_NODEV));
  EXPECT_EQ(after(0, {"nosymfollow"}), 256u);
}

TEST(MountFlags, TheLastOptionCounts) {
  EXPECT_EQ(after(0, {"ro", "rw"}), 0u);
  EXPECT_EQ(after(0, {"rw", "ro"}), static_cast<unsigned long>(MS_RDONLY));
}

TEST(MountFlags, OtherOptionsChangeNothing) {
  EXPECT_EQ(after(MS_NOSUID, {"sync", "workers=3", ""}), static_cast<unsigned long>(MS_NOSUID));
  EXPECT_FALSE(is_mount_flag("sync"));
  EXPECT_TRUE(is_mount_flag("nodev"));
}

TEST(MountFlags, OfAMount) {
  EXPECT_NE(mount_flags_of("/proc") & MS_NOSUID, 0u);
  EXPECT_EQ(mount_flags_of("/proc") & MS_RDONLY, 0u);
  EXPECT_ANY_THROW(mount_flags_of("/no/such/directory"));
}

}  // namespace
}  // namespace mpoolfs

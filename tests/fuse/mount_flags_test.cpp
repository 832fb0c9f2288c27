#include "fuse/mount_flags.h"

#include <fstream>
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
  // The mount table has the options as text.
  std::string options;
  std::ifstream mounts("/proc/self/mounts");
  for (std::string source, target, type, rest; mounts >> source >> target >> type >> options;) {
    std::getline(mounts, rest);
    if (target == "/proc") break;
  }
  const auto has = [&](const std::string& option) {
    return ("," + options + ",").find("," + option + ",") != std::string::npos;
  };
  const unsigned long flags = mount_flags_of("/proc");
  EXPECT_EQ((flags & MS_NOSUID) != 0, has("nosuid"));
  EXPECT_EQ((flags & MS_NODEV) != 0, has("nodev"));
  EXPECT_EQ((flags & MS_RDONLY) != 0, has("ro"));
  EXPECT_ANY_THROW(mount_flags_of("/no/such/directory"));
}

}  // namespace
}  // namespace mpoolfs

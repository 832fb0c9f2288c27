#include "fuse/ops/descriptors.h"

#include <csignal>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/device/file_descriptor.h"
#include "tests/support/private_mount.h"
#include "tests/support/temporary_directory.h"

namespace mpoolfs {
namespace {

class DescriptorsTest : public testing::Test {
 protected:
  DescriptorsTest() {
    mpool::FileDescriptor made(::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    struct stat status {};
    EXPECT_EQ(::fstat(made.get(), &status), 0);
    device_ = fmt::format("{}:{}", major(status.st_dev), minor(status.st_dev));
    inode_ = status.st_ino;
  }

  mpool::FileDescriptor open(int flags) const {
    return mpool::FileDescriptor(::open(path_.c_str(), flags | O_CLOEXEC));
  }
  bool has_one(pid_t process = ::getpid()) const {
    return has_writing_descriptor(process, device_, inode_);
  }

  const mpool::test::TemporaryDirectory directory_;
  // A file system that the table of mounts has: in a chroot it lacks that of the root.
  const mpool::test::PrivateMount mount_{"none", "tmpfs", directory_ / "tmpfs"};
  const std::string path_ = directory_ / "tmpfs/file";
  std::string device_;
  std::uint64_t inode_ = 0;
};

TEST_F(DescriptorsTest, FindsThoseForWriting) {
  EXPECT_FALSE(has_one());
  for (const int flags : {O_WRONLY, O_RDWR, O_WRONLY | O_APPEND}) {
    const auto file = open(flags);
    EXPECT_TRUE(has_one());
    const mpool::FileDescriptor duplicate(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
    EXPECT_TRUE(has_one());
  }
  EXPECT_FALSE(has_one());
}

TEST_F(DescriptorsTest, ReadersAreNone) {
  const auto file = open(O_RDONLY);
  EXPECT_FALSE(has_one());
}

TEST_F(DescriptorsTest, OfThatFileAlone) {
  const auto file = open(O_WRONLY);
  EXPECT_FALSE(has_writing_descriptor(::getpid(), device_, inode_ + 1));
  EXPECT_FALSE(has_writing_descriptor(::getpid(), "0:0", inode_));
}

TEST_F(DescriptorsTest, OfThatProcessAlone) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const int file = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    const bool told = ::write(ends[1], "x", 1) == 1;
    while (told && file >= 0)
      ::pause();
    ::_exit(1);
  }
  char there = 0;
  EXPECT_EQ(::read(ends[0], &there, 1), 1);
  EXPECT_TRUE(has_one(child));
  EXPECT_FALSE(has_one());
  ::kill(child, SIGKILL);
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_FALSE(has_one(child));
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace mpoolfs

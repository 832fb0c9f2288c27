// Which opens are counted as made. The kernel's use of them is tested with mounts.
#include "fuse/native/backing_files.h"

#include <gtest/gtest.h>

#include "fuse/native/view_devices.h"
#include "fuse/native/view_set.h"
#include "tests/engine/names/support.h"

namespace mpoolfs {
namespace {

// A tree that no view shows: all files are served.
class BackingFilesTest : public testing::Test {
 protected:
  BackingFilesTest() { tree_.put("f", "text"); }
  ~BackingFilesTest() override {
    EXPECT_EQ(files_.counts().native, 0u);
    EXPECT_EQ(files_.counts().kept, 0u);
  }

  std::uint64_t served() const { return files_.counts().served; }

  mpool::test::TestTree tree_;
  const ViewDevices devices_{tree_.pool()};
  const ViewSet views_{tree_.names(), devices_};
  BackingFiles files_{tree_.names(), views_, -1};
  const mpool::InodeNumber inode_ = mpool::kRootInode + 1;
};

TEST_F(BackingFilesTest, CountsOpensThatWereMade) {
  for (std::uint64_t opens = 1; opens <= 3; ++opens) {
    NativeEntry entry = files_.enter(inode_, true);
    EXPECT_EQ(entry.backing_id(), 0u);
    EXPECT_EQ(served(), opens - 1);
    entry.count();
    EXPECT_EQ(served(), opens) << "before the answer";
    entry.keep();
  }
  for (int i = 0; i < 3; ++i)
    files_.leave(inode_);
  EXPECT_EQ(served(), 3u);
}

TEST_F(BackingFilesTest, CountsNoOpenThatWasGivenUp) {
  files_.enter(inode_, true);
  EXPECT_EQ(served(), 0u);
  files_.enter(inode_, true).count();
  EXPECT_EQ(served(), 0u);
  {
    auto entry = files_.try_enter(inode_);
    ASSERT_TRUE(entry);
    entry->count();
    EXPECT_EQ(served(), 1u);
  }
  EXPECT_EQ(served(), 0u);
}

TEST_F(BackingFilesTest, CountsReadersOfCommittedFilesAlone) {
  NativeEntry writer = files_.enter(inode_, false);
  writer.count();
  writer.keep();
  EXPECT_EQ(served(), 0u);
  auto reader = files_.try_enter(inode_);
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->backing_id(), 0u);
  reader->count();
  reader->keep();
  EXPECT_EQ(served(), 1u);
  for (int i = 0; i < 2; ++i)
    files_.leave(inode_);
}

TEST(NativeEntry, CountsNothingWhereNothingIsEntered) {
  NativeEntry entry;
  entry.count();
  EXPECT_EQ(entry.backing_id(), 0u);
}

}  // namespace
}  // namespace mpoolfs

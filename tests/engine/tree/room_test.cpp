// The room of the root MDC: it grows with the tree, and is shared fairly.
#include <cerrno>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/xattr.h>

#include "engine/tree/footprint.h"
#include "engine/tree/journal.h"
#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

constexpr Owner kUser{.uid = 1000, .gid = 1000};
constexpr std::string_view kLongName =
    "a name of the length that package managers and object stores like to give to their files";

std::string name_of(int number) {
  return std::string(kLongName) + std::to_string(number);
}

int make(TestTree& tree, const std::string& name, Owner owner = kUser) {
  return errno_of([&] { tree.names().make_file(kRootInode, name, 0644, owner); });
}

// Creates empty files until ENOSPC; returns their number.
int fill(TestTree& tree, const std::string& prefix, Owner owner = kUser) {
  for (int made = 0;; ++made) {
    const int code = make(tree, prefix + name_of(made), owner);
    if (code == 0) continue;
    EXPECT_EQ(code, ENOSPC);
    return made;
  }
}

TEST(Room, TheRootMdcGrowsWithTheTree) {
  TestTree tree({}, {.zones = 512, .root_capacity = kZoneSize});
  const auto used = tree.used_zones();
  constexpr int kFiles = 2000;
  for (int i = 0; i < kFiles; ++i)
    ASSERT_EQ(make(tree, name_of(i)), 0) << i;
  tree.names().sync();
  const MetadataStats stats = tree.names().metadata();
  EXPECT_GE(stats.capacity, 8 * kZoneSize);
  EXPECT_LE(stats.live, stats.capacity / 2) << "at the last compaction it was no more";
  EXPECT_LE(stats.used, stats.capacity);
  EXPECT_EQ(tree.used_zones(), used + 2 * (stats.capacity - kZoneSize) / kZoneSize)
      << "the logs that were too small are free";
  const auto before = tree.dump();
  tree.remount();
  EXPECT_EQ(tree.dump(), before);
  EXPECT_EQ(tree.names().metadata().capacity, stats.capacity);
  for (int i = 0; i < kFiles; ++i)
    tree.unlink(name_of(i));
  tree.remount();
  EXPECT_TRUE(tree.list("").empty());
}

// The purpose of the footprint: it is the size of the tree in the compacted log.
TEST(Room, TheFootprintIsWhatTheTreeTakesInTheLog) {
  TestTree tree({}, {.zones = 512, .root_capacity = 2 * kZoneSize});
  tree.mkdir("d");
  for (int i = 0; i < 200; ++i) {
    const std::string path = "d/" + name_of(i);
    tree.put(path, pattern(i % 3 == 0 ? 0 : 10));
    if (i % 4 == 1) tree.names().link(tree.stat(path).inode, kRootInode, "link" + name_of(i));
    if (i % 4 == 2) tree.names().set_xattr(tree.stat(path).inode, "user.x", pattern(i), 0);
    if (i % 5 == 3) tree.unlink(path);
    if (i % 4 == 3) tree.names().make_symlink(kRootInode, "symlink" + name_of(i), kLongName, {});
  }
  tree.names().sync();
  const std::uint64_t live = tree.names().metadata().live;
  // Until it is compacted: the log then contains nothing else.
  for (std::uint64_t before = 0; tree.names().metadata().used >= before;) {
    before = tree.names().metadata().used;
    tree.mkdir("passing");
    tree.names().remove_directory(kRootInode, "passing");
    tree.names().sync();
  }
  const std::uint64_t used = tree.names().metadata().used;
  EXPECT_GE(live + live / 20, used);
  EXPECT_LE(live, used + used / 5);
  tree.remount();
  EXPECT_EQ(tree.names().metadata().live, live) << "read from the media";
  tree.remove_all();
  TestTree empty;
  EXPECT_EQ(tree.names().metadata().live, empty.names().metadata().live);
}

TEST(Room, ThereIsRoomAtOnceWhenTheCulpritIsGone) {
  TestTree tree({}, TestTree::without_growth());
  tree.names().make_symlink(kRootInode, "culprit", pattern(kMaxSymlinkLength), kUser);
  const int made = fill(tree, "");
  EXPECT_GT(made, 100);
  EXPECT_EQ(make(tree, "d"), ENOSPC);
  tree.unlink("culprit");
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(make(tree, "after" + name_of(i)), 0) << i;
}

TEST(Room, WhatIsOpenWithoutANameTakesNone) {
  TestTree tree({}, TestTree::without_growth());
  const std::uint64_t before = tree.names().metadata().live;
  tree.put("culprit", "text");
  const InodeNumber culprit = tree.stat("culprit").inode;
  for (int i = 0; i < 8; ++i)
    tree.names().set_xattr(culprit, "user." + std::to_string(i), pattern(4000), 0);
  fill(tree, "");
  EXPECT_EQ(make(tree, "d"), ENOSPC);
  const ScopedFile file(tree.open("culprit", {.read = true}));
  tree.unlink("culprit");
  EXPECT_EQ(make(tree, "d"), 0);
  tree.names().remove_xattr(culprit, "user.0");
  tree.names().set_xattr(culprit, "user.0", "x", 0);
  tree.remove_all();
  EXPECT_EQ(tree.names().metadata().live, before);
}

TEST(Room, NamesThatComeAndGoInAFullTreeGoOn) {
  TestTree tree({}, TestTree::without_growth());
  const int made = fill(tree, "");
  for (int i = 0; i < 30; ++i)
    tree.unlink(name_of(i));
  for (int i = 0; i < 3 * made; ++i) {
    ASSERT_EQ(make(tree, "passing"), 0) << i;
    tree.unlink("passing");
  }
}

TEST(Room, TheLastPartIsForRoot) {
  TestTree tree({}, TestTree::without_growth());
  fill(tree, "user");
  EXPECT_EQ(tree.names().space(kRootInode).available_files, 0u);
  EXPECT_GT(fill(tree, "root", {}), 2);
  EXPECT_EQ(tree.names().space(kRootInode).available_files, 0u);
  // A file that was created before can be finished, and everything can be removed.
  tree.names().sync();
  const auto before = tree.dump();
  tree.remount();
  EXPECT_EQ(tree.dump(), before);
  tree.remove_all();
  EXPECT_EQ(make(tree, "again"), 0);
}

TEST(Room, AFileThatCouldBeMadeCanBeFinished) {
  TestTree tree({}, TestTree::without_growth(8));
  std::vector<std::unique_ptr<OpenFile>> files;
  for (int i = 0; i < 8; ++i) {
    files.push_back(tree.create("file" + std::to_string(i)));
    files.back()->write(0, bytes_of("text"), false);
    tree.names().set_xattr(files.back()->inode(), "user.x", pattern(1000), 0);
  }
  fill(tree, "user");
  fill(tree, "root", {});
  for (const auto& file : files) {
    EXPECT_EQ(errno_of([&] { file->fsync(); }), 0);
    file->close();
  }
  tree.remount();
  for (int i = 0; i < 8; ++i)
    EXPECT_EQ(tree.get("file" + std::to_string(i)), "text");
}

TEST(Room, RenamesDoNotNeedMoreThanTheyTake) {
  TestTree tree({}, TestTree::without_growth());
  const int made = fill(tree, "");
  fill(tree, "root", {});
  for (int i = 0; i < made; ++i)
    tree.rename(name_of(i), std::to_string(i));
  EXPECT_EQ(errno_of([&] {
              for (int i = 0; i < made; ++i)
                tree.rename(std::to_string(i), name_of(i) + name_of(i));
            }),
            ENOSPC);
  tree.remove_all();
}

TEST(Room, GrowsWhenThePoolDoes) {
  TestTree tree({}, TestTree::without_growth());
  fill(tree, "user");
  EXPECT_EQ(make(tree, "d"), ENOSPC);
  tree.media()->resize(512 * kZoneSize);
  EXPECT_TRUE(tree.pool().grow(MediaClass::capacity));
  EXPECT_GT(tree.names().space(kRootInode).available_files, 100u);
  EXPECT_EQ(make(tree, "d"), 0);
  EXPECT_GT(tree.names().metadata().capacity, kZoneSize);
}

TEST(Room, UsesWhatThereIsWhenItCannotDouble) {
  TestTree::Sizes sizes = TestTree::without_growth();
  sizes.root_capacity = 8 * kZoneSize;
  sizes.free_zones = 3 + 22;  // for two logs of 11 zones
  TestTree tree({}, sizes);
  fill(tree, "user");
  EXPECT_GE(tree.names().metadata().capacity, 10 * kZoneSize);
  const auto before = tree.dump();
  tree.remount();
  EXPECT_EQ(tree.dump(), before);
}

TEST(Room, OneInodeHasAnEndOfExtendedAttributes) {
  TestTree tree;
  tree.put("f", "x");
  const InodeNumber f = tree.stat("f").inode;
  Namespace& names = tree.names();
  names.set_xattr(f, "user.a", pattern(kMaxXattrSize - 1000), 0);
  EXPECT_EQ(errno_of([&] { names.set_xattr(f, "user.b", pattern(2000), 0); }), ENOSPC);
  names.set_xattr(f, "user.b", pattern(1000), 0);
  names.set_xattr(f, "user.a", pattern(kMaxXattrSize - 2000), XATTR_REPLACE);
  names.set_xattr(f, "user.b", pattern(2000), XATTR_REPLACE);
  std::size_t made = 0;
  int code = 0;
  for (; code == 0; ++made)
    code = errno_of([&] { names.set_xattr(f, "user." + std::to_string(made), "", 0); });
  EXPECT_EQ(code, ENOSPC) << "names count, too";
  EXPECT_LT(made, 100u);
  names.remove_xattr(f, "user.a");
  names.set_xattr(f, "user.a", "small", XATTR_CREATE);
}

TEST(Room, MoreExtendedAttributesOfOldStayAndCanBeMadeFewer) {
  TestTree tree;
  tree.put("f", "x");
  const InodeNumber f = tree.stat("f").inode;
  tree.unmount();
  {
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::make_unique<MemoryDevice>("memory", tree.media()));
    const auto pool = Pool::activate(std::move(devices), {.force = false, .mdc_count = 2});
    const auto root = pool->open_root_mdc();
    for (int i = 0; i < 3; ++i) {
      root->sync(root->append(names::encode(
          {0, names::XattrRecord{f, "user." + std::to_string(i), true, pattern(50'000, i)}})));
    }
  }
  tree.mount();
  Namespace& names = tree.names();
  EXPECT_EQ(names.get_xattr(f, "user.2"), pattern(50'000, 2));
  EXPECT_EQ(errno_of([&] { names.set_xattr(f, "user.3", "x", 0); }), ENOSPC);
  EXPECT_EQ(errno_of([&] { names.set_xattr(f, "user.2", pattern(50'001), 0); }), ENOSPC);
  names.set_xattr(f, "user.2", pattern(40'000, 2), 0);
  names.remove_xattr(f, "user.0");
  names.remove_xattr(f, "user.1");
  names.set_xattr(f, "user.3", "x", 0);
  const auto before = tree.dump();
  tree.remount();
  EXPECT_EQ(tree.dump(), before);
}

}  // namespace
}  // namespace mpool::test

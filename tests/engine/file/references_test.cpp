// Inodes live as long as they have a name, an open file or a reference.
#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

// As the daemon answers LOOKUP.
InodeNumber look_up(TestTree& tree, const std::string& path) {
  const auto [parent, name] = tree.split(path);
  const LookupAnswer found =
      tree.names().lookup(parent, name, LookupReference::take, Blocking::forbidden);
  EXPECT_TRUE(found) << path;
  return found.attributes.inode;
}

// As it does FORGET.
void forget(TestTree& tree, InodeNumber inode, std::uint64_t count = 1) {
  const InodeReferences references{inode, count};
  if (!tree.names().unref({&references, 1}, Blocking::forbidden))
    tree.names().unref({&references, 1});
}

bool exists(TestTree& tree, InodeNumber inode) {
  const int code = errno_of([&] { tree.names().attributes(inode); });
  EXPECT_TRUE(code == 0 || code == ESTALE) << code;
  return code == 0;
}

std::string read_inode(TestTree& tree, InodeNumber inode) {
  const ScopedFile file(tree.names().open(inode, {.read = true}));
  return TestTree::read_all(*file);
}

TEST(References, KeepAFileThatWasUnlinked) {
  TestTree tree;
  const std::uint32_t used = tree.used_zones();
  tree.put("f", pattern(3 * kZoneSize));
  const InodeNumber inode = look_up(tree, "f");
  tree.unlink("f");
  EXPECT_EQ(tree.names().attributes(inode).links, 0u);
  EXPECT_GT(tree.used_zones(), used);
  EXPECT_TRUE(read_inode(tree, inode) == pattern(3 * kZoneSize));
  EXPECT_TRUE(exists(tree, inode)) << "the open file was not the last that kept it";
  forget(tree, inode);
  EXPECT_FALSE(exists(tree, inode));
  EXPECT_EQ(tree.used_zones(), used);
}

TEST(References, KeepAFileThatWasReplaced) {
  TestTree tree;
  tree.put("f", "old");
  tree.put("g", "new");
  const std::uint32_t used = tree.used_zones();
  const InodeNumber inode = look_up(tree, "f");
  tree.rename("g", "f");
  EXPECT_EQ(read_inode(tree, inode), "old");
  EXPECT_EQ(tree.get("f"), "new");
  forget(tree, inode);
  EXPECT_FALSE(exists(tree, inode));
  EXPECT_LT(tree.used_zones(), used);
}

TEST(References, AreCounted) {
  TestTree tree;
  tree.put("f", "text");
  const InodeNumber inode = look_up(tree, "f");
  EXPECT_EQ(look_up(tree, "f"), inode);
  std::vector<InodeNumber> further{inode, 12345, inode};
  tree.names().ref(further);
  EXPECT_EQ(further, (std::vector<InodeNumber>{inode, 0, inode}));
  forget(tree, inode, 2);
  tree.unlink("f");
  forget(tree, inode);
  EXPECT_TRUE(exists(tree, inode));
  forget(tree, inode);
  EXPECT_FALSE(exists(tree, inode));
  forget(tree, inode, 1000);  // a reference that does not exist
}

TEST(References, DroppedBeforeTheNameKeepNothing) {
  TestTree tree;
  const std::uint32_t used = tree.used_zones();
  tree.put("f", "text");
  const InodeNumber inode = look_up(tree, "f");
  forget(tree, inode);
  EXPECT_EQ(tree.get("f"), "text");
  tree.unlink("f");
  EXPECT_FALSE(exists(tree, inode));
  EXPECT_EQ(tree.used_zones(), used);
}

TEST(References, AndOpenFilesGoInAnyOrder) {
  for (const bool forgotten_first : {true, false}) {
    TestTree tree;
    const std::uint32_t used = tree.used_zones();
    tree.put("f", "text");
    const InodeNumber inode = look_up(tree, "f");
    auto file = std::make_unique<ScopedFile>(tree.open("f", {.read = true}));
    tree.unlink("f");
    if (forgotten_first) forget(tree, inode);
    EXPECT_EQ(TestTree::read_all(**file), "text");
    if (!forgotten_first) {
      file.reset();
      EXPECT_EQ(read_inode(tree, inode), "text");
      forget(tree, inode);
    }
    file.reset();
    EXPECT_FALSE(exists(tree, inode));
    EXPECT_EQ(tree.used_zones(), used);
  }
}

TEST(References, KeepALog) {
  TestTree tree;
  const std::uint32_t used = tree.used_zones();
  tree.append("log", "line");
  const InodeNumber inode = look_up(tree, "log");
  tree.unlink("log");
  EXPECT_EQ(read_inode(tree, inode), "line");
  const InodeReferences reference{inode, 1};
  EXPECT_FALSE(tree.names().unref({&reference, 1}, Blocking::forbidden))
      << "a log writes when it ends";
  EXPECT_TRUE(exists(tree, inode));
  tree.names().unref({&reference, 1});
  EXPECT_FALSE(exists(tree, inode));
  EXPECT_EQ(tree.used_zones(), used);
}

// The kernel's requests for a directory that a process has open or as its working directory.
TEST(References, KeepARemovedDirectory) {
  TestTree tree;
  tree.mkdir("d");
  const InodeNumber inode = look_up(tree, "d");
  tree.names().remove_directory(kRootInode, "d");
  EXPECT_EQ(tree.names().attributes(inode).links, 0u);
  bool empty = true;
  tree.names().read_directory(inode, 0, [&](const DirectoryEntry&) { return empty = false; });
  EXPECT_TRUE(empty);
  EXPECT_EQ(tree.names().parent_of(inode), kRootInode);
  EXPECT_EQ(errno_of([&] { tree.names().make_directory(inode, "e", 0755, {}); }), ENOENT);
  EXPECT_EQ(errno_of([&] { tree.names().lookup(inode, "e"); }), ENOENT);
  forget(tree, inode);
  EXPECT_FALSE(exists(tree, inode));
}

// No record may name an inode that earlier records have removed.
TEST(References, ChangesOfWhatHasNoNameAreNotRecorded) {
  TestTree tree;
  tree.mkdir("d");
  tree.put("f", "text");
  const std::vector<InodeNumber> inodes{look_up(tree, "d"), look_up(tree, "f")};
  tree.names().remove_directory(kRootInode, "d");
  tree.unlink("f");
  tree.names().set_xattr(inodes[0], "user.mpool.class", "capacity", 0);
  tree.names().set_xattr(inodes[0], "user.mpool.create", "*=mlog", 0);
  tree.names().remove_xattr(inodes[0], "user.mpool.class");
  AttributeChange change;
  change.mode = 0700;
  for (const InodeNumber inode : inodes) {
    tree.names().set_attributes(inode, change);
    tree.names().set_xattr(inode, "user.x", "y", 0);
    tree.names().remove_xattr(inode, "user.x");
    EXPECT_EQ(tree.names().attributes(inode).mode, 0700u);
  }
  tree.names().sync();
  TestTree crashed(std::make_shared<Media>(*tree.media()), {});
  EXPECT_TRUE(crashed.list("").empty());
}

TEST(References, LeaveNothingAfterACrash) {
  TestTree tree;
  const std::uint32_t used = tree.used_zones();
  tree.put("f", pattern(3 * kZoneSize));
  look_up(tree, "f");
  tree.unlink("f");
  EXPECT_GT(tree.used_zones(), used);
  TestTree crashed(std::make_shared<Media>(*tree.media()), {});
  EXPECT_EQ(crashed.used_zones(), used);
}

TEST(References, EndWithTheNamespace) {
  TestTree tree;
  const std::uint32_t used = tree.used_zones();
  const std::size_t objects = tree.pool().object_count();
  tree.put("f", pattern(3 * kZoneSize));
  tree.append("log", "line");
  tree.mkdir("d");
  for (const char* const name : {"f", "log", "d"})
    look_up(tree, name);
  tree.unlink("f");
  tree.unlink("log");
  tree.names().remove_directory(kRootInode, "d");
  tree.remount();
  EXPECT_EQ(tree.used_zones(), used);
  EXPECT_EQ(tree.pool().object_count(), objects);
}

// Space that only references keep is used when there is no other.
TEST(References, KeepNoContentWhenThePoolIsFull) {
  TestTree tree({}, {.zones = 128});
  const std::uint64_t half = tree.names().space(kRootInode).available / 2 + 1;
  tree.put("old", pattern(half * kZoneSize));
  const InodeNumber inode = look_up(tree, "old");
  tree.unlink("old");
  tree.put("new", pattern(half * kZoneSize, 2));
  EXPECT_TRUE(tree.get("new") == pattern(half * kZoneSize, 2));
  EXPECT_FALSE(exists(tree, inode));
}

// The last close of a file without a name drops its content: it must not be found empty.
TEST(References, KeepNoContentThatWasNeverCommitted) {
  TestTree tree;
  const std::uint32_t used = tree.used_zones();
  auto writer = tree.create("f");
  InodeNumber inode = tree.stat("f").inode;
  tree.names().ref({&inode, 1});
  writer->write(0, bytes_of("text"), false);
  tree.unlink("f");
  writer->close();
  EXPECT_EQ(errno_of([&] { tree.names().open(inode, {.read = true}); }), ESTALE);
  EXPECT_EQ(tree.used_zones(), used);
}

TEST(References, OfWhatIsBeingWrittenAreForRef) {
  TestTree tree;
  auto writer = tree.create("f");
  const InodeNumber inode = look_up(tree, "f");
  tree.unlink("f");
  writer->close();
  EXPECT_FALSE(exists(tree, inode));
}

}  // namespace
}  // namespace mpool::test

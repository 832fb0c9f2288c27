// Files that are made without a name, and whiteouts.
#include <cerrno>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"

namespace mpool {
namespace {

using test::errno_of;
using test::pattern;
using test::ScopedFile;
using test::TestTree;

constexpr OpenIntent kReadWrite{.read = true, .write = true};
constexpr Owner kOwner{.uid = 7, .gid = 8};

TEST(Unnamed, IsWrittenAndReadAndLeavesNothing) {
  TestTree tree;
  const std::uint32_t used = tree.used_zones();
  {
    auto [attributes, file] = tree.names().create_unnamed(kRootInode, 0640, kOwner, kReadWrite);
    const ScopedFile unnamed(std::move(file));
    EXPECT_EQ(attributes.links, 0u);
    EXPECT_EQ(attributes.mode, 0640u);
    EXPECT_EQ(attributes.uid, kOwner.uid);
    const std::string text = pattern(3 * test::kZoneSize + 1);
    unnamed->write(0, test::bytes_of(text), false);
    unnamed->fsync();
    EXPECT_EQ(TestTree::read_all(*unnamed), text);
    EXPECT_TRUE(tree.list("").empty());
    TestTree crashed(std::make_shared<test::Media>(*tree.media()), {});
    EXPECT_EQ(crashed.used_zones(), used);
  }
  EXPECT_EQ(tree.used_zones(), used);
}

TEST(Unnamed, GetsANameWithWhatIsWritten) {
  TestTree tree;
  tree.mkdir("d");
  auto [attributes, file] = tree.names().create_unnamed(kRootInode, 0640, kOwner, kReadWrite);
  {
    const ScopedFile unnamed(std::move(file));
    unnamed->write(0, test::bytes_of(pattern(1000)), false);
    tree.names().set_xattr(attributes.inode, "user.x", "y", 0);
    unnamed->fsync();
    EXPECT_EQ(tree.names().link(attributes.inode, tree.stat("d").inode, "f").links, 1u);
    EXPECT_EQ(errno_of([&] { tree.names().link(attributes.inode, tree.stat("d").inode, "f"); }),
              EEXIST);
    tree.names().sync();
    EXPECT_EQ(test::get_after_crash(tree, "d/f"), pattern(1000));
    unnamed->write(1000, test::bytes_of(std::string_view("tail")), false);
    EXPECT_EQ(tree.names().link(attributes.inode, kRootInode, "g").links, 2u);
  }
  EXPECT_EQ(tree.get("g"), pattern(1000) + "tail");
  EXPECT_EQ(tree.names().get_xattr(attributes.inode, "user.x"), "y");
  test::expect_same_after_remount(tree);
}

TEST(Unnamed, IsWriteOnceWhateverTheDirectorySays) {
  TestTree tree;
  tree.names().set_xattr(kRootInode, "user.mpool.create", "*=mlog", 0);
  OpenIntent intent = kReadWrite;
  intent.append = true;
  auto [attributes, file] = tree.names().create_unnamed(kRootInode, 0640, kOwner, intent);
  const ScopedFile unnamed(std::move(file));
  EXPECT_EQ(unnamed->kind(), FileKind::write_once);
}

TEST(Unnamed, HasNoContentToLinkAfterItsLastClose) {
  TestTree tree;
  auto [attributes, file] = tree.names().create_unnamed(kRootInode, 0640, kOwner, kReadWrite);
  const InodeNumber inode = attributes.inode;
  std::optional<ScopedFile> writer(std::move(file));
  (*writer)->write(0, test::bytes_of(std::string_view("data")), false);
  const ScopedFile reader(tree.names().open(inode, {.read = true}));
  writer.reset();
  EXPECT_EQ(TestTree::read_all(*reader), "data");
  EXPECT_EQ(errno_of([&] { tree.names().link(inode, kRootInode, "f"); }), ENOENT);
}

TEST(Unnamed, ARemovedFileThatIsOpenForReadingGetsNoName) {
  TestTree tree;
  tree.put("f", "data");
  const InodeNumber inode = tree.stat("f").inode;
  const ScopedFile reader(tree.open("f", {.read = true}));
  tree.unlink("f");
  EXPECT_EQ(errno_of([&] { tree.names().link(inode, kRootInode, "f"); }), ENOENT);
}

TEST(Unnamed, IsForWriting) {
  TestTree tree;
  tree.put("f", "");
  EXPECT_EQ(errno_of([&] { tree.names().create_unnamed(kRootInode, 0, {}, {.read = true}); }),
            EINVAL);
  EXPECT_EQ(errno_of([&] { tree.names().create_unnamed(tree.stat("f").inode, 0, {}, kReadWrite); }),
            ENOTDIR);
}

TEST(Whiteout, TakesTheOldName) {
  TestTree tree;
  tree.put("f", "data");
  tree.mkdir("d");
  tree.names().rename(kRootInode, "f", kRootInode, "g", RenameMode::replace, kOwner);
  tree.names().rename(kRootInode, "d", kRootInode, "e", RenameMode::no_replace, kOwner);
  for (const char* name : {"f", "d"}) {
    const Attributes whiteout = tree.stat(name);
    EXPECT_EQ(whiteout.kind, FileKind::character_device);
    EXPECT_EQ(whiteout.device, 0u);
    EXPECT_EQ(whiteout.mode, 0u);
    EXPECT_EQ(whiteout.uid, kOwner.uid);
  }
  EXPECT_EQ(tree.get("g"), "data");
  test::expect_same_after_remount(tree);
}

TEST(Whiteout, OfAFileThatIsBeingWritten) {
  TestTree tree;
  {
    const ScopedFile file(tree.create("f"));
    file->write(0, test::bytes_of(std::string_view("data")), false);
    tree.names().rename(kRootInode, "f", kRootInode, "g", RenameMode::replace, kOwner);
  }
  EXPECT_EQ(tree.stat("f").kind, FileKind::character_device);
  EXPECT_EQ(tree.get("g"), "data");
  test::expect_same_after_remount(tree);
}

}  // namespace
}  // namespace mpool

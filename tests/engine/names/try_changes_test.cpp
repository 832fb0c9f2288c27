// Changes of names and attributes without blocking.
#include <cerrno>
#include <chrono>
#include <string>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

std::optional<Attributes> try_chmod(TestTree& tree, InodeNumber inode, std::uint32_t mode) {
  AttributeChange change;
  change.mode = mode;
  return tree.names().set_attributes(inode, change, Blocking::forbidden);
}

bool try_rename(TestTree& tree, const std::string& from, const std::string& to,
                RenameMode mode = RenameMode::replace) {
  return tree.names().rename(kRootInode, from, kRootInode, to, mode, std::nullopt,
                             Blocking::forbidden);
}

std::optional<Attributes> try_mkdir(TestTree& tree, const std::string& name) {
  return tree.names().make_directory(kRootInode, name, 0755, {}, Blocking::forbidden);
}

TEST(TryChanges, DoNoIoAndLast) {
  TestTree tree({.commit_interval = std::chrono::hours(1)});
  tree.put("f", "text");
  tree.put("replaced", "old");
  tree.names().sync();
  const auto before = tree.device().counters();
  const auto changed = try_chmod(tree, tree.stat("f").inode, 0600);
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->mode, 0600u);
  EXPECT_EQ(changed->size, 4u);
  EXPECT_TRUE(try_rename(tree, "f", "replaced"));
  const auto made = try_mkdir(tree, "d");
  ASSERT_TRUE(made);
  EXPECT_EQ(made->inode, tree.stat("d").inode);
  EXPECT_EQ(tree.device().counters().writes, before.writes);
  EXPECT_EQ(tree.device().counters().reads, before.reads);
  tree.remount();
  EXPECT_EQ(tree.list(""), (std::vector<std::string>{"replaced", "d"}));
  EXPECT_EQ(tree.get("replaced"), "text");
  EXPECT_EQ(tree.stat("replaced").mode, 0600u);
}

TEST(TryChanges, AttributesOfAFileUntilItsDescriptorIsClosed) {
  TestTree tree;
  {
    const ScopedFile file(tree.create("f"));
    file->write(0, bytes_of("text"), false);
    ASSERT_TRUE(try_chmod(tree, file->inode(), 0600));
    EXPECT_EQ(try_chmod(tree, file->inode(), 0640)->size, 4u);
    file->flush();
    EXPECT_FALSE(try_chmod(tree, file->inode(), 0600)) << "its commit may be on the way";
    EXPECT_EQ(tree.stat("f").mode, 0640u);
  }
  EXPECT_TRUE(try_chmod(tree, tree.stat("f").inode, 0600));
  tree.remount();
  EXPECT_EQ(tree.stat("f").mode, 0600u);
  EXPECT_EQ(tree.get("f"), "text");
}

TEST(TryChanges, WhatHasToWaitIsLeftAlone) {
  TestTree tree;
  tree.append("log", "line\n");
  tree.put("f", "text");
  const ScopedFile written(tree.create("written"));
  written->write(0, bytes_of("more"), false);
  EXPECT_FALSE(try_chmod(tree, tree.stat("log").inode, 0600)) << "its size is read";
  EXPECT_FALSE(try_rename(tree, "f", "log")) << "the end of a log writes";
  EXPECT_FALSE(try_rename(tree, "written", "other"));
  EXPECT_FALSE(try_rename(tree, "f", "written"));
  EXPECT_FALSE(try_rename(tree, "f", "written", RenameMode::exchange));
  EXPECT_EQ(tree.list(""), (std::vector<std::string>{"log", "f", "written"}));
  EXPECT_TRUE(try_rename(tree, "log", "renamed"));
  EXPECT_TRUE(try_rename(tree, "f", "renamed", RenameMode::exchange));
  EXPECT_EQ(tree.get("renamed"), "text");
}

TEST(TryChanges, ReplacingManyExtentsTakesTime) {
  TestTree tree;
  {
    const ScopedFile file(tree.create("many"));
    for (std::uint64_t i = 0; i < 1100; ++i)
      file->write(2 * i * kPageSize, bytes_of(pattern(kPageSize)), false);
    file->fsync();
  }
  tree.put("f", "text");
  tree.names().sync();
  EXPECT_FALSE(try_rename(tree, "f", "many"));
  EXPECT_EQ(tree.get("f"), "text");
  EXPECT_TRUE(try_rename(tree, "many", "other"));
}

TEST(TryChanges, ErrorsAreThoseOfTheBlockingCalls) {
  TestTree tree;
  tree.put("f", "text");
  tree.put("g", "text");
  tree.mkdir("d");
  EXPECT_EQ(errno_of([&] { try_chmod(tree, 999'999, 0600); }), ESTALE);
  EXPECT_EQ(errno_of([&] { try_rename(tree, "none", "h"); }), ENOENT);
  EXPECT_EQ(errno_of([&] { try_rename(tree, "f", "g", RenameMode::no_replace); }), EEXIST);
  EXPECT_EQ(errno_of([&] { try_rename(tree, "f", "d"); }), EISDIR);
  EXPECT_EQ(errno_of([&] { try_rename(tree, "f", "none", RenameMode::exchange); }), ENOENT);
  EXPECT_EQ(errno_of([&] { try_mkdir(tree, "f"); }), EEXIST);
  tree.unmount();
  TestTree shown(tree.media(), {.read_only = true});
  EXPECT_EQ(errno_of([&] { try_mkdir(shown, "e"); }), EROFS);
  EXPECT_EQ(errno_of([&] { try_rename(shown, "f", "h"); }), EROFS);
  EXPECT_EQ(errno_of([&] { try_chmod(shown, shown.stat("f").inode, 0600); }), EROFS);
}

TEST(TryChanges, DurableOnReturnTakesTime) {
  TestTree tree({.sync = true});
  tree.put("f", "text");
  EXPECT_FALSE(try_chmod(tree, tree.stat("f").inode, 0600));
  EXPECT_FALSE(try_rename(tree, "f", "g"));
  EXPECT_FALSE(try_mkdir(tree, "d"));
  EXPECT_EQ(tree.list(""), std::vector<std::string>{"f"});
}

TEST(TryChanges, AttributesOfTheUserAreReadWithoutBlocking) {
  TestTree tree;
  tree.put("f", "text");
  const InodeNumber inode = tree.stat("f").inode;
  tree.names().set_xattr(inode, "user.a", "value", 0);
  const auto get = [&](std::string_view name) {
    return tree.names().get_xattr(inode, name, Blocking::forbidden);
  };
  EXPECT_EQ(get("user.a"), "value");
  EXPECT_EQ(get("user.mpool.type"), std::nullopt) << "follows the closes before";
  EXPECT_EQ(errno_of([&] { get("user.none"); }), ENODATA);
  EXPECT_EQ(errno_of([&] { get("security.capability"); }), ENOTSUP);
}

}  // namespace
}  // namespace mpool::test

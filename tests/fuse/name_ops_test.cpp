#include <cerrno>
#include <cstdio>
#include <string>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tests/fuse/ops_support.h"

namespace mpoolfs {
namespace {

using LookupKind = mpool::LookupAnswer::Kind;
using mpool::Blocking;

class NameOpsTest : public test::OpsTest {
 protected:
  Outcome forget(mpool::InodeNumber number, std::uint64_t count) {
    const mpool::InodeReferences references{.inode = number, .count = count};
    return op_forget(call(), {&references, 1});
  }
};

constexpr auto kRoot = mpool::kRootInode;

TEST_F(NameOpsTest, ALookupTakesAReference) {
  const auto made = op_mknod(call(), kRoot, "f", S_IFREG | 0640, 0).attributes;
  const mpool::LookupAnswer found = op_lookup(reactor_call(), kRoot, "f");
  ASSERT_EQ(found.kind, LookupKind::found);
  EXPECT_EQ((*found).inode, made.inode);
  EXPECT_EQ(op_unlink(call(), kRoot, "f"), Outcome::done);
  EXPECT_EQ(forget(made.inode, 1), Outcome::done);
  EXPECT_EQ(names().attributes(made.inode).links, 0u) << "the other reference keeps it";
  EXPECT_EQ(forget(made.inode, 1), Outcome::done);
  EXPECT_NE(test::errno_of([&] { names().attributes(made.inode); }), 0);
}

TEST_F(NameOpsTest, ALookupSaysThatANameIsAbsent) {
  EXPECT_EQ(op_lookup(reactor_call(), kRoot, "f").kind, LookupKind::absent);
  tree_.put("f", "x");
  EXPECT_EQ(test::errno_of([&] { op_lookup(call(), inode("f"), "g"); }), ENOTDIR);
  EXPECT_EQ(test::errno_of([&] { op_lookup(call(), 12345, "g"); }), ESTALE);
}

TEST_F(NameOpsTest, ALookupDuringACommitWouldBlock) {
  during_commit_of(
      "f", [&] { EXPECT_EQ(op_lookup(reactor_call(), kRoot, "f").kind, LookupKind::would_block); });
  EXPECT_EQ(op_lookup(reactor_call(), kRoot, "f").kind, LookupKind::found);
}

TEST_F(NameOpsTest, ALookupKnowsTheDots) {
  tree_.mkdir("d");
  tree_.mkdir("d/e");
  EXPECT_EQ((*op_lookup(reactor_call(), inode("d/e"), ".")).inode, inode("d/e"));
  EXPECT_EQ((*op_lookup(reactor_call(), inode("d/e"), "..")).inode, inode("d"));
  EXPECT_EQ(test::errno_of([&] { op_lookup(call(), 12345, "."); }), ESTALE);
}

TEST_F(NameOpsTest, NewInodesBelongToTheCaller) {
  const auto directory = op_mkdir(call(), kRoot, "d", 02750)->attributes;
  EXPECT_EQ(directory.kind, mpool::FileKind::directory);
  EXPECT_EQ(directory.mode, 02750u);
  EXPECT_EQ(directory.uid, test::kUser.uid);
  EXPECT_EQ(directory.gid, test::kUser.gid);
  const auto below =
      op_mkdir(call(Blocking::allowed, {.uid = 5, .gid = 6}), directory.inode, "e", 0700)
          ->attributes;
  EXPECT_EQ(below.mode, 02700u) << "the group of the directory is inherited";
  EXPECT_EQ(below.uid, 5u);
  EXPECT_EQ(below.gid, test::kUser.gid);
  EXPECT_EQ(test::errno_of([&] { op_mkdir(call(), kRoot, "d", 0755); }), EEXIST);
  EXPECT_EQ(test::errno_of([&] { op_mkdir(call(), kRoot, std::string(256, 'n'), 0755); }),
            ENAMETOOLONG);
}

TEST_F(NameOpsTest, MknodMakesFilesOfAllKinds) {
  using enum mpool::FileKind;
  EXPECT_EQ(op_mknod(call(), kRoot, "f", S_IFREG | 0600, 0).attributes.kind, empty);
  EXPECT_EQ(op_mknod(call(), kRoot, "p", S_IFIFO | 0600, 0).attributes.kind, fifo);
  EXPECT_EQ(op_mknod(call(), kRoot, "s", S_IFSOCK | 0600, 0).attributes.kind, socket);
  const auto device = op_mknod(call(), kRoot, "c", S_IFCHR | 0600, ::makedev(1, 3)).attributes;
  EXPECT_EQ(device.kind, character_device);
  EXPECT_EQ(device.device, std::uint64_t{1} << 32 | 3);
  EXPECT_EQ(test::errno_of([&] { op_mknod(call(), kRoot, "p", S_IFREG | 0600, 0); }), EEXIST);
}

TEST_F(NameOpsTest, UnlinkRemovesANameOfAFile) {
  tree_.put("f", "x");
  tree_.mkdir("d");
  EXPECT_EQ(op_unlink(reactor_call(), kRoot, "f"), Outcome::done);
  EXPECT_EQ(test::errno_of([&] { op_unlink(reactor_call(), kRoot, "f"); }), ENOENT);
  EXPECT_EQ(test::errno_of([&] { op_unlink(call(), kRoot, "d"); }), EISDIR);
}

TEST_F(NameOpsTest, UnlinkOfALogWouldBlockAndThenChangesNothing) {
  tree_.append("log", "record");
  EXPECT_EQ(op_unlink(reactor_call(), kRoot, "log"), Outcome::would_block);
  EXPECT_EQ(tree_.get("log"), "record");
  EXPECT_EQ(op_unlink(call(), kRoot, "log"), Outcome::done);
  EXPECT_TRUE(tree_.list("").empty());
}

TEST_F(NameOpsTest, RmdirRemovesAnEmptyDirectory) {
  tree_.mkdir("d");
  tree_.put("d/f", "x");
  EXPECT_EQ(test::errno_of([&] { op_rmdir(call(), kRoot, "d"); }), ENOTEMPTY);
  EXPECT_EQ(test::errno_of([&] { op_rmdir(call(), inode("d"), "f"); }), ENOTDIR);
  tree_.unlink("d/f");
  EXPECT_EQ(op_rmdir(reactor_call(), kRoot, "d"), Outcome::done);
  EXPECT_EQ(test::errno_of([&] { op_rmdir(reactor_call(), kRoot, "d"); }), ENOENT);
}

TEST_F(NameOpsTest, MkdirAndRenameOnTheReactor) {
  const auto made = op_mkdir(reactor_call(), kRoot, "d", 0755);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->attributes.inode, inode("d"));
  EXPECT_EQ(op_rename(reactor_call(), kRoot, "d", kRoot, "e", 0), Outcome::done);
  tree_.append("log", "record");
  tree_.put("f", "content");
  EXPECT_EQ(op_rename(reactor_call(), kRoot, "f", kRoot, "log", 0), Outcome::would_block);
  EXPECT_EQ(tree_.get("f"), "content");
}

TEST_F(NameOpsTest, SymbolicLinksKeepTheirTarget) {
  const auto link = op_symlink(call(), kRoot, "l", "to/here").attributes;
  EXPECT_EQ(link.kind, mpool::FileKind::symlink);
  EXPECT_EQ(link.uid, test::kUser.uid);
  EXPECT_EQ(op_readlink(call(), link.inode).path, "to/here");
  EXPECT_EQ(test::errno_of([&] { op_readlink(call(), kRoot); }), EINVAL);
  EXPECT_EQ(test::errno_of([&] { op_symlink(call(), kRoot, "l", "other"); }), EEXIST);
}

TEST_F(NameOpsTest, RenameKnowsTheFlags) {
  tree_.put("a", "first");
  tree_.put("b", "second");
  const auto rename = [&](const char* from, const char* to, unsigned flags) {
    return op_rename(call(), kRoot, from, kRoot, to, flags);
  };
  EXPECT_EQ(test::errno_of([&] { rename("a", "b", RENAME_NOREPLACE); }), EEXIST);
  EXPECT_EQ(rename("a", "b", RENAME_EXCHANGE), Outcome::done);
  EXPECT_EQ(tree_.get("a"), "second");
  EXPECT_EQ(tree_.get("b"), "first");
  EXPECT_EQ(rename("a", "b", 0), Outcome::done);
  EXPECT_EQ(tree_.get("b"), "second");
  EXPECT_EQ(test::errno_of([&] { rename("a", "c", 0); }), ENOENT);
  EXPECT_EQ(rename("b", "c", RENAME_WHITEOUT), Outcome::done);
  EXPECT_EQ(tree_.stat("b").kind, mpool::FileKind::character_device);
  EXPECT_EQ(tree_.stat("b").uid, test::kUser.uid);
  EXPECT_EQ(tree_.get("c"), "second");
  EXPECT_EQ(test::errno_of([&] { rename("c", "b", RENAME_WHITEOUT | RENAME_NOREPLACE); }), EEXIST);
  EXPECT_EQ(test::errno_of([&] { rename("c", "e", 1u << 3); }), EINVAL);
}

TEST_F(NameOpsTest, LinkGivesAnotherName) {
  tree_.put("f", "x");
  tree_.mkdir("d");
  const auto linked = op_link(call(), inode("f"), inode("d"), "g").attributes;
  EXPECT_EQ(linked.inode, inode("f"));
  EXPECT_EQ(linked.links, 2u);
  EXPECT_EQ(test::errno_of([&] { op_link(call(), inode("d"), kRoot, "e"); }), EPERM);
  EXPECT_EQ(test::errno_of([&] { op_link(call(), inode("f"), inode("d"), "g"); }), EEXIST);
}

TEST_F(NameOpsTest, ForgettingTheLastReferenceToALogMayBlock) {
  tree_.append("log", "record");
  const mpool::LookupAnswer found = op_lookup(call(), kRoot, "log");
  EXPECT_EQ(op_unlink(call(), kRoot, "log"), Outcome::done);
  const mpool::InodeReferences references{.inode = (*found).inode, .count = 1};
  if (op_forget(reactor_call(), {&references, 1}) == Outcome::would_block) {
    EXPECT_EQ(names().attributes((*found).inode).links, 0u) << "nothing was done";
    EXPECT_EQ(op_forget(call(), {&references, 1}), Outcome::done);
  }
  EXPECT_NE(test::errno_of([&] { names().attributes((*found).inode); }), 0);
}

}  // namespace
}  // namespace mpoolfs

#include <cerrno>
#include <string>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "tests/fuse/ops_support.h"

namespace mpoolfs {
namespace {

using test::errno_of;

class AttributeOpsTest : public test::OpsTest {
 protected:
  mpool::Attributes change(const std::string& path, const mpool::AttributeChange& changed) {
    return *op_setattr(call(), inode(path), std::nullopt, changed, {});
  }
  mpool::Attributes resize(const std::string& path, off_t size, const FileArgument& file = {}) {
    return *op_setattr(call(), inode(path), size, {}, file);
  }
};

TEST_F(AttributeOpsTest, GetattrShowsAnInode) {
  tree_.put("f", "content");
  const auto shown = op_getattr(reactor_call(), inode("f"), {});
  ASSERT_TRUE(shown);
  EXPECT_EQ(shown->size, 7u);
  EXPECT_EQ(errno_of([&] { op_getattr(reactor_call(), 12345, {}); }), ESTALE);
}

TEST_F(AttributeOpsTest, SetattrAndGetxattrOnTheReactor) {
  tree_.put("f", "content");
  EXPECT_EQ(op_setattr(reactor_call(), inode("f"), std::nullopt, test::to_mode(0600), {})->mode,
            0600u);
  EXPECT_FALSE(op_setattr(reactor_call(), inode("f"), 0, {}, {})) << "a truncation";
  names().set_xattr(inode("f"), "user.a", "value", 0);
  EXPECT_EQ(op_getxattr(reactor_call(), inode("f"), "user.a", 5)->value, "value");
  EXPECT_FALSE(op_getxattr(reactor_call(), inode("f"), "user.mpool.type", 100));
}

TEST_F(AttributeOpsTest, GetattrDuringACommitWouldBlock) {
  during_commit_of("f", [&] {
    mpool::InodeNumber number = 0;
    names().read_directory(mpool::kRootInode, 0, [&](const mpool::DirectoryEntry& entry) {
      number = entry.inode;
      return true;
    });
    EXPECT_FALSE(op_getattr(reactor_call(), number, {}));
  });
  EXPECT_EQ(op_getattr(reactor_call(), inode("f"), {}).value().size, kHeldSize);
}

TEST_F(AttributeOpsTest, SetattrChangesWhatIsNamedAndShowsAll) {
  tree_.put("f", "content");
  mpool::AttributeChange wanted = test::to_mode(0600);
  wanted.uid = 5;
  wanted.mtime = std::timespec{7, 8};
  const auto changed = change("f", wanted);
  EXPECT_EQ(changed.mode, 0600u);
  EXPECT_EQ(changed.uid, 5u);
  EXPECT_EQ(changed.gid, 0u);
  EXPECT_EQ(changed.mtime.tv_sec, 7);
  EXPECT_EQ(changed.size, 7u);
  EXPECT_EQ(change("f", {}).mode, 0600u) << "no change";
  EXPECT_EQ(errno_of([&] { op_setattr(call(), 12345, std::nullopt, test::to_mode(0600), {}); }),
            ESTALE);
}

TEST_F(AttributeOpsTest, SetattrTruncates) {
  tree_.put("f", "content");
  EXPECT_EQ(errno_of([&] { resize("f", -1); }), EINVAL);
  for (const off_t size : {0, 3})
    EXPECT_EQ(errno_of([&] { resize("f", size); }), EACCES) << "committed content does not change";
  EXPECT_EQ(errno_of([&] { resize("", 0); }), EISDIR);

  const FileArgument file = create_kept("g");
  EXPECT_EQ(resize("g", 1000, file).size, 1000u);
  release(file);
}

TEST_F(AttributeOpsTest, SetattrNotesPrivilegesThatAWriteMustClear) {
  const FileArgument file = create_kept("f");
  EXPECT_FALSE(file.handle->may_have_privileges());
  change("f", test::to_mode(0755));
  EXPECT_FALSE(file.handle->may_have_privileges());
  change("f", test::to_mode(04755));
  EXPECT_TRUE(file.handle->may_have_privileges());
  release(file);
}

TEST_F(AttributeOpsTest, StatfsTakesNoInodeForTheRoot) {
  const struct statvfs root = op_statfs(call(), mpool::kRootInode);
  EXPECT_EQ(root.f_bsize, mpool::test::kZoneSize);
  EXPECT_GT(root.f_blocks, root.f_bfree);
  EXPECT_GE(root.f_bfree, root.f_bavail);
  EXPECT_GT(root.f_files, root.f_ffree);
  EXPECT_EQ(root.f_ffree, root.f_favail);
  EXPECT_EQ(root.f_namemax, 255u);
  EXPECT_EQ(op_statfs(call(), 0).f_blocks, root.f_blocks);
}

TEST_F(AttributeOpsTest, ExtendedAttributesAreSetShownAndRemoved) {
  tree_.put("f", "x");
  const auto f = inode("f");
  EXPECT_EQ(op_setxattr(call(), f, "user.a", "value", 5, 0), Outcome::done);
  EXPECT_EQ(op_getxattr(call(), f, "user.a", 5)->value, "value");
  EXPECT_EQ(op_getxattr(call(), f, "user.a", 0)->value.size(), 5u);
  EXPECT_EQ(op_getxattr(call(), f, "user.a", 0)->room, 0u);
  EXPECT_EQ(errno_of([&] { op_getxattr(call(), f, "user.a", 4); }), ERANGE);
  EXPECT_NE(op_listxattr(call(), f, 4096).value.find(std::string("user.a\0", 7)),
            std::string::npos);
  EXPECT_EQ(errno_of([&] { op_listxattr(call(), f, 1); }), ERANGE);
  EXPECT_EQ(op_removexattr(call(), f, "user.a"), Outcome::done);
  EXPECT_EQ(errno_of([&] { op_removexattr(call(), f, "user.a"); }), ENODATA);
  EXPECT_EQ(errno_of([&] { op_getxattr(call(), f, "user.a", 0); }), ENODATA);
}

TEST_F(AttributeOpsTest, ExtendedAttributesHaveTheirErrors) {
  tree_.put("f", "x");
  const auto f = inode("f");
  EXPECT_EQ(errno_of([&] { op_setxattr(call(), f, "user.a", "v", 1, XATTR_REPLACE); }), ENODATA);
  EXPECT_EQ(op_setxattr(call(), f, "user.a", "v", 1, XATTR_CREATE), Outcome::done);
  EXPECT_EQ(errno_of([&] { op_setxattr(call(), f, "user.a", "v", 1, XATTR_CREATE); }), EEXIST);
  EXPECT_EQ(errno_of([&] { op_setxattr(call(), f, "trusted.a", "v", 1, 0); }), ENOTSUP);
  EXPECT_EQ(errno_of([&] { op_setxattr(call(), f, "user.mpool.type", "v", 1, 0); }), EPERM);
}

}  // namespace
}  // namespace mpoolfs

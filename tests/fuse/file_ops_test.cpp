#include <cerrno>
#include <limits>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/fuse/ops_support.h"
#include "tests/support/async_io.h"

namespace mpoolfs {
namespace {

using mpool::Blocking;
using mpool::kRootInode;
using mpool::test::bytes_of;
using test::errno_of;

constexpr FileArgument with_flags(int flags) {
  return {.flags = flags, .handle = nullptr};
}

class FileOpsTest : public test::OpsTest {
 protected:
  static constexpr std::size_t kRoom = 64u << 10;  // bytes of the memory of a request

  // The data read; nullopt: would block.
  std::optional<std::string> read(const Call& by, const FileArgument& file, std::uint64_t offset,
                                  std::size_t size) {
    mpool::test::AsyncRead operation;
    const mpool::ReadResult result =
        op_read(by, file, offset, size, memory_.span(), async_.io(), operation);
    if (result.state == mpool::IoState::would_block) return std::nullopt;
    async_.complete();
    EXPECT_EQ(operation.error, 0);
    if (result.state == mpool::IoState::pending) return operation.text;
    return std::string(reinterpret_cast<const char*>(result.data.data()), result.data.size());
  }
  mpool::IoState write(const Call& by, const FileArgument& file, std::uint64_t offset,
                       std::string_view text) {
    mpool::test::AsyncWrite operation;
    const mpool::AlignedBuffer data = mpool::test::aligned(text);
    const mpool::IoState state = op_write(by, file, offset, data.span(), async_.io(), operation);
    async_.complete();
    EXPECT_EQ(operation.error, 0);
    return state;
  }

  mpool::AlignedBuffer memory_{kRoom};
  mpool::test::AsyncIo async_;

  std::optional<CreatedFile> create(Blocking blocking, const char* name, int flags,
                                    mode_t mode = 0644) {
    return op_create(call(blocking), kRootInode, name, mode, with_flags(flags | O_CREAT));
  }
};

TEST_F(FileOpsTest, ACommittedFileIsOpenedWithoutBlockingAndCached) {
  tree_.put("f", "content");
  const auto opened = op_open(reactor_call(), inode("f"), with_flags(O_RDONLY));
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->reply().caching, Caching::kept);
  EXPECT_EQ(opened->reply().backing_id, 0u);
  EXPECT_FALSE(opened->reply().needs_flush);
  EXPECT_FALSE(opened->handle().may_have_privileges());
  EXPECT_EQ(handles().count(), 1u);
}

TEST_F(FileOpsTest, AnOpenThatTheKernelDroppedIsUndone) {
  tree_.put("f", "content");
  op_open(reactor_call(), inode("f"), with_flags(O_RDONLY));
  EXPECT_EQ(handles().count(), 0u);
  const FileArgument file = open_kept("f", O_RDONLY);
  EXPECT_EQ(handles().count(), 1u);
  release(file);
  EXPECT_EQ(handles().count(), 0u);
}

TEST_F(FileOpsTest, OtherOpensWouldBlock) {
  const FileArgument writer = create_kept("f");
  EXPECT_FALSE(op_open(reactor_call(), inode("f"), with_flags(O_RDONLY)));
  EXPECT_FALSE(op_open(reactor_call(), inode("f"), with_flags(O_WRONLY)));
  EXPECT_FALSE(op_open(reactor_call(), inode("f"), with_flags(O_RDONLY | O_TRUNC)));
  EXPECT_EQ(handles().count(), 1u);
  const auto reader = op_open(call(), inode("f"), with_flags(O_RDONLY));
  EXPECT_EQ(reader.value().reply().caching, Caching::none) << "the content still changes";
  release(writer);
}

TEST_F(FileOpsTest, OpenHasItsErrors) {
  tree_.put("f", "content");
  EXPECT_EQ(errno_of([&] { op_open(call(), inode("f"), with_flags(O_WRONLY)); }), EACCES);
  EXPECT_EQ(errno_of([&] { op_open(call(), kRootInode, with_flags(O_WRONLY)); }), EISDIR);
  EXPECT_EQ(errno_of([&] { op_open(call(), 12345, with_flags(O_RDONLY)); }), ESTALE);
  EXPECT_EQ(handles().count(), 0u);
}

TEST_F(FileOpsTest, CreateMakesAnOpenFileOfTheCaller) {
  auto created = create(Blocking::forbidden, "f", O_RDWR, 04640);
  ASSERT_TRUE(created);
  const mpool::Attributes& made = created->entry.attributes;
  EXPECT_EQ(made.mode, 04640u);
  EXPECT_EQ(made.uid, test::kUser.uid);
  EXPECT_EQ(made.gid, test::kUser.gid);
  EXPECT_EQ(created->opened.reply().caching, Caching::none);
  EXPECT_TRUE(created->opened.reply().needs_flush);
  EXPECT_TRUE(created->opened.handle().may_have_privileges());
  EXPECT_EQ(op_lookup(call(), kRootInode, "f").attributes.inode, made.inode);
  release(kept(std::move(created->opened), O_RDWR));
}

TEST_F(FileOpsTest, CreateWithoutAName) {
  EXPECT_FALSE(create(Blocking::forbidden, "/", O_RDWR, 0640));
  auto created = create(Blocking::allowed, "/", O_RDWR, 04640);
  ASSERT_TRUE(created);
  EXPECT_EQ(created->entry.attributes.links, 0u);
  EXPECT_EQ(created->entry.attributes.uid, test::kUser.uid);
  EXPECT_TRUE(tree_.list("").empty());
  EXPECT_EQ(op_link(call(), created->entry.attributes.inode, kRootInode, "f").attributes.links, 1u);
  release(kept(std::move(created->opened), O_RDWR));
}

TEST_F(FileOpsTest, SeekFindsTheHolesOfCommittedFiles) {
  {
    const mpool::test::ScopedFile file(tree_.create("f"));
    file->truncate(4 * mpool::test::kZoneSize);
    file->write(mpool::test::kZoneSize, mpool::test::bytes_of(std::string(4096, 'x')), false);
  }
  const FileArgument file = open_kept("f", O_RDONLY);
  const auto seek = [&](std::uint64_t offset, int whence) {
    return op_lseek(call(), inode("f"), static_cast<off_t>(offset), whence, file).offset;
  };
  EXPECT_EQ(seek(0, SEEK_DATA), mpool::test::kZoneSize);
  EXPECT_EQ(seek(10, SEEK_HOLE), 10u);
  EXPECT_EQ(seek(mpool::test::kZoneSize + 1, SEEK_DATA), mpool::test::kZoneSize + 1);
  EXPECT_EQ(seek(mpool::test::kZoneSize + 1, SEEK_HOLE), mpool::test::kZoneSize + 4096);
  EXPECT_EQ(seek(2 * mpool::test::kZoneSize, SEEK_DATA), std::nullopt);
  EXPECT_EQ(seek(4 * mpool::test::kZoneSize, SEEK_HOLE), std::nullopt);
  EXPECT_EQ(errno_of([&] { seek(0, SEEK_SET); }), EINVAL);
  release(file);
}

TEST_F(FileOpsTest, CreateOpensAFileThatExists) {
  tree_.put("f", "content");
  EXPECT_EQ(errno_of([&] { create(Blocking::forbidden, "f", O_RDONLY | O_EXCL); }), EEXIST);
  EXPECT_FALSE(create(Blocking::forbidden, "f", O_RDONLY));
  EXPECT_EQ(create(Blocking::allowed, "f", O_RDONLY).value().opened.reply().caching, Caching::kept);
  EXPECT_EQ(errno_of([&] { create(Blocking::allowed, "f", O_RDWR); }), EACCES);
  EXPECT_EQ(handles().count(), 0u);
}

TEST_F(FileOpsTest, TruncatingClearsPrivilegesUnlessRootDoesIt) {
  op_mknod(call(), kRootInode, "f", S_IFREG | 04755, 0);
  op_open(call(Blocking::allowed, test::kSuperuser), inode("f"), with_flags(O_WRONLY | O_TRUNC));
  EXPECT_EQ(tree_.stat("f").mode, 04755u);
  op_open(call(), inode("f"), with_flags(O_WRONLY | O_TRUNC));
  EXPECT_EQ(tree_.stat("f").mode, 0755u);
  names().set_attributes(inode("f"), test::to_mode(04755));
  create(Blocking::allowed, "f", O_WRONLY | O_TRUNC);
  EXPECT_EQ(tree_.stat("f").mode, 0755u);
}

TEST_F(FileOpsTest, ACommittedFileIsReadByTheRing) {
  const std::string text = mpool::test::pattern(200'000);
  tree_.put("f", text);
  names().sync();
  const FileArgument file = open_kept("f", O_RDONLY);
  EXPECT_EQ(read(reactor_call(), file, 4096, 8192), text.substr(4096, 8192));
  EXPECT_EQ(read(reactor_call(), file, 196'608, 8192), text.substr(196'608));
  EXPECT_EQ(read(reactor_call(), file, 300'000, 8192), "");
  EXPECT_EQ(read(call(), file, 5, 100), text.substr(5, 100));
  EXPECT_EQ(mount_->readers.requests(), 3u) << "counted where it does not block";
  EXPECT_EQ(errno_of([&] { read(call(), file, 0, kRoom + 1); }), EINVAL);
  release(file);
}

TEST_F(FileOpsTest, AReadThatWouldBlockIsMadeByAWorker) {
  const FileArgument file = create_kept("log", O_RDWR | O_APPEND);
  EXPECT_EQ(write(call(), file, 0, "record"), mpool::IoState::done);
  EXPECT_EQ(read(reactor_call(), file, 0, 100), std::nullopt);
  EXPECT_EQ(read(call(), file, 0, 100), "record");
  release(file);
}

TEST_F(FileOpsTest, AWriteThatNeedsSpaceIsMadeByAWorker) {
  const FileArgument file = create_kept("f");
  const std::string large = mpool::test::pattern(500u << 10);
  EXPECT_EQ(write(reactor_call(), file, 0, large), mpool::IoState::would_block);
  EXPECT_EQ(read(call(), file, 0, 100), "") << "nothing was done";
  EXPECT_EQ(write(call(), file, 0, large), mpool::IoState::done);
  EXPECT_EQ(write(reactor_call(), file, large.size(), "end"), mpool::IoState::done);
  EXPECT_TRUE(read(call(), file, 4096, 8192) == large.substr(4096, 8192));
  EXPECT_EQ(read(call(), file, large.size(), 100), "end");
  release(file);
}

TEST_F(FileOpsTest, ASynchronousWriteIsMadeByAWorkerAndDurable) {
  FileArgument file = create_kept("f");
  file.flags = O_RDWR | O_DSYNC;
  EXPECT_EQ(write(reactor_call(), file, 0, "content"), mpool::IoState::would_block);
  EXPECT_EQ(write(call(), file, 0, "content"), mpool::IoState::done);
  EXPECT_FALSE(names().losses().any());
  release(file);
}

TEST_F(FileOpsTest, AWriteClearsPrivilegesOnceUnlessRootMakesIt) {
  const FileArgument file = create_kept("f", O_RDWR, 04755);
  const Call root = call(Blocking::allowed, test::kSuperuser);
  EXPECT_EQ(write(root, file, 0, "a"), mpool::IoState::done);
  EXPECT_EQ(tree_.stat("f").mode, 04755u);
  EXPECT_EQ(write(reactor_call(), file, 1, "b"), mpool::IoState::would_block);
  EXPECT_EQ(write(call(), file, 1, "b"), mpool::IoState::done);
  EXPECT_EQ(tree_.stat("f").mode, 0755u);
  EXPECT_EQ(write(reactor_call(), file, 2, "c"), mpool::IoState::done);
  release(file);
}

TEST_F(FileOpsTest, ReadAndWriteHaveTheirErrors) {
  const FileArgument writer = create_kept("f", O_WRONLY);
  EXPECT_EQ(errno_of([&] { read(call(), writer, 0, 100); }), EBADF);
  release(writer);
  const FileArgument reader = open_kept("f", O_RDONLY);
  EXPECT_EQ(errno_of([&] { write(call(), reader, 0, "x"); }), EBADF);
  release(reader);
}

TEST_F(FileOpsTest, TheReleaseCommits) {
  const FileArgument file = create_kept("f");
  file.file().write(0, bytes_of("content"), false);
  EXPECT_FALSE(tree_.stat("f").committed);
  const auto number = inode("f");
  EXPECT_EQ(op_flush(reactor_call(), number, file), Outcome::done);
  EXPECT_EQ(op_release(reactor_call(), number, file), Outcome::done) << "a small new file";
  EXPECT_TRUE(tree_.stat("f").committed);
  EXPECT_EQ(tree_.get("f"), "content");
  EXPECT_EQ(handles().count(), 0u);
}

TEST_F(FileOpsTest, AReleaseThatWouldBlockChangesNothing) {
  const FileArgument file = create_kept("f");
  file.file().write(0, bytes_of(mpool::test::pattern(200'000)), false);
  const auto number = inode("f");
  EXPECT_EQ(op_flush(call(), number, file), Outcome::done);
  EXPECT_EQ(op_release(reactor_call(), number, file), Outcome::would_block);
  EXPECT_EQ(handles().count(), 1u);
  EXPECT_EQ(op_release(call(), number, file), Outcome::done);
  EXPECT_EQ(tree_.get("f"), mpool::test::pattern(200'000));
}

TEST_F(FileOpsTest, FsyncMakesTheNameDurable) {
  const FileArgument file = create_kept("f");
  file.file().write(0, bytes_of("content"), false);
  EXPECT_EQ(op_fsync(call(), inode("f"), 0, file), Outcome::done);
  EXPECT_FALSE(names().losses().any());
  release(file);
}

TEST_F(FileOpsTest, FallocateSetsSpaceAside) {
  const FileArgument file = create_kept("f");
  const auto number = inode("f");
  EXPECT_EQ(op_fallocate(call(), number, FALLOC_FL_KEEP_SIZE, 0, 100'000, file), Outcome::done);
  EXPECT_EQ(tree_.stat("f").size, 0u);
  EXPECT_EQ(op_fallocate(call(), number, 0, 0, 100'000, file), Outcome::done);
  EXPECT_EQ(tree_.stat("f").size, 100'000u);
  release(file);
}

TEST_F(FileOpsTest, FallocateHasItsErrors) {
  const FileArgument file = create_kept("f");
  const auto number = inode("f");
  constexpr off_t kMax = std::numeric_limits<off_t>::max();
  const auto fallocate_of = [&](int mode, off_t offset, off_t length, const FileArgument& target) {
    return errno_of([&] { op_fallocate(call(), number, mode, offset, length, target); });
  };
  EXPECT_EQ(fallocate_of(FALLOC_FL_PUNCH_HOLE, 0, 1, file), EOPNOTSUPP);
  EXPECT_EQ(fallocate_of(0, kMax, 1, file), EFBIG);
  EXPECT_EQ(fallocate_of(0, -1, 1, file), EINVAL);
  EXPECT_EQ(fallocate_of(0, 0, off_t{1} << 40, file), ENOSPC);
  release(file);
  const FileArgument reader = open_kept("f", O_RDONLY);
  EXPECT_EQ(fallocate_of(0, 0, 1, reader), EBADF);
  release(reader);
  const FileArgument log = create_kept("log", O_WRONLY | O_APPEND);
  EXPECT_EQ(fallocate_of(0, 0, 1, log), EOPNOTSUPP);
  release(log);
}

}  // namespace
}  // namespace mpoolfs

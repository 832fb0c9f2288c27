#include "fuse/ops/attributes.h"

#include <array>
#include <cstdint>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>

namespace mpoolfs {
namespace {

using mpool::Attributes;
using mpool::FileKind;

Attributes sample(FileKind kind, bool committed = false) {
  return {.inode = 77,
          .kind = kind,
          .mode = 0640,
          .uid = 10,
          .gid = 20,
          .links = 3,
          .size = 12345,
          .blocks = 64,
          .atime = {1, 2},
          .mtime = {3, 4},
          .ctime = {5, 6},
          .committed = committed,
          .being_written = kind == FileKind::write_once && !committed};
}

TEST(AttributesShown, EveryField) {
  const struct stat shown = to_stat(sample(FileKind::write_once, true), {});
  EXPECT_EQ(shown.st_ino, 77u);
  EXPECT_EQ(shown.st_mode, mode_t{S_IFREG | 0640});
  EXPECT_EQ(shown.st_nlink, 3u);
  EXPECT_EQ(shown.st_uid, 10u);
  EXPECT_EQ(shown.st_gid, 20u);
  EXPECT_EQ(shown.st_size, 12345);
  EXPECT_EQ(shown.st_blocks, 64);
  EXPECT_EQ(shown.st_atim.tv_sec, 1);
  EXPECT_EQ(shown.st_mtim.tv_sec, 3);
  EXPECT_EQ(shown.st_mtim.tv_nsec, 4);
  EXPECT_EQ(shown.st_ctim.tv_sec, 5);
}

TEST(AttributesShown, Types) {
  EXPECT_EQ(type_bits(FileKind::directory), mode_t{S_IFDIR});
  EXPECT_EQ(type_bits(FileKind::symlink), mode_t{S_IFLNK});
  for (const FileKind kind : {FileKind::empty, FileKind::write_once, FileKind::log}) {
    EXPECT_EQ(type_bits(kind), mode_t{S_IFREG});
    EXPECT_EQ(special_kind(type_bits(kind)), std::nullopt);
  }
  for (const FileKind kind :
       {FileKind::fifo, FileKind::socket, FileKind::character_device, FileKind::block_device}) {
    EXPECT_EQ(special_kind(type_bits(kind) | 0644), kind);
  }
}

TEST(AttributesShown, Devices) {
  Attributes disk = sample(FileKind::block_device);
  disk.device = device_number(::makedev(259, 0xabcde));
  const struct stat shown = to_stat(disk, {});
  EXPECT_TRUE(S_ISBLK(shown.st_mode));
  EXPECT_EQ(::major(shown.st_rdev), 259u);
  EXPECT_EQ(::minor(shown.st_rdev), 0xabcdeu);
}

TEST(AttributesShown, OwnerOptions) {
  const struct stat shown = to_stat(sample(FileKind::log), {.uid = 1, .gid = 2});
  EXPECT_EQ(shown.st_uid, 1u);
  EXPECT_EQ(shown.st_gid, 2u);
}

TEST(AttributesShown, OnlyWhatCannotChangeIsCached) {
  EXPECT_EQ(attribute_timeout(sample(FileKind::directory)), kForever);
  EXPECT_EQ(attribute_timeout(sample(FileKind::symlink)), kForever);
  EXPECT_EQ(attribute_timeout(sample(FileKind::write_once, true)), kForever);
  EXPECT_EQ(attribute_timeout(sample(FileKind::write_once, false)), kNever);
  EXPECT_EQ(attribute_timeout(sample(FileKind::empty)), kForever);
  Attributes begun = sample(FileKind::empty);
  begun.being_written = true;
  EXPECT_EQ(attribute_timeout(begun), kNever);
  EXPECT_EQ(attribute_timeout(sample(FileKind::log)), kNever);
}

TEST(AttributesShown, AFileJustCreatedIsOpenedWithTheAttributesItCameWith) {
  const double timeout = attribute_timeout_of_created(sample(FileKind::write_once, false));
  EXPECT_GT(timeout, 0);
  EXPECT_LE(timeout, 0.001);
  EXPECT_EQ(attribute_timeout_of_created(sample(FileKind::log)), kNever);
  EXPECT_EQ(attribute_timeout_of_created(sample(FileKind::empty)), kForever);
}

TEST(AttributesShown, NamesOfFilesThatMayVanishAreNotCached) {
  EXPECT_EQ(entry_timeout(sample(FileKind::write_once, false)), kNever);
  EXPECT_EQ(entry_timeout(sample(FileKind::write_once, true)), kForever);
  EXPECT_EQ(entry_timeout(sample(FileKind::log)), kForever);
  EXPECT_EQ(entry_timeout(sample(FileKind::directory)), kForever);
}

TEST(AttributesShown, Entries) {
  const fuse_entry_param entry = to_entry(sample(FileKind::write_once, true), {});
  EXPECT_EQ(entry.ino, 77u);
  EXPECT_EQ(entry.attr.st_size, 12345);
  EXPECT_EQ(entry.entry_timeout, kForever);
  const fuse_entry_param none = negative_entry();
  EXPECT_EQ(none.ino, 0u);
  EXPECT_EQ(none.entry_timeout, kForever);
}

TEST(NewFiles, BelongToTheCaller) {
  const Caller caller{.uid = 5, .gid = 6};
  const Ownership made = ownership_in(sample(FileKind::directory), caller, S_IFDIR | 01755);
  EXPECT_EQ(made.owner.uid, 5u);
  EXPECT_EQ(made.owner.gid, 6u);
  EXPECT_EQ(made.mode, 01755u);
}

TEST(NewFiles, TakeTheGroupOfSetGroupIdDirectories) {
  const Caller caller{.uid = 5, .gid = 6};
  Attributes parent = sample(FileKind::directory);
  parent.mode |= S_ISGID;
  const Ownership file = ownership_in(parent, caller, S_IFREG | 0644);
  EXPECT_EQ(file.owner.uid, 5u);
  EXPECT_EQ(file.owner.gid, 20u);
  EXPECT_EQ(file.mode, 0644u);
  const Ownership directory = ownership_in(parent, caller, S_IFDIR | 0755);
  EXPECT_EQ(directory.owner.gid, 20u);
  EXPECT_EQ(directory.mode, 02755u);
}

TEST(Intent, OfOpenFlags) {
  const auto reads = to_intent(O_RDONLY);
  EXPECT_TRUE(reads.read && !reads.write && !reads.truncate && !reads.append);
  const auto writes = to_intent(O_WRONLY | O_APPEND);
  EXPECT_TRUE(!writes.read && writes.write && !writes.truncate && writes.append);
  const auto both = to_intent(O_RDWR | O_TRUNC);
  EXPECT_TRUE(both.read && both.write && both.truncate && !both.append && !both.direct);
  EXPECT_TRUE(to_intent(O_WRONLY | O_DIRECT).direct);
}

// The engine counts it as a writer, and requests that wait for its close must do so, too.
TEST(Intent, TruncatingWrites) {
  const auto intent = to_intent(O_RDONLY | O_TRUNC);
  EXPECT_TRUE(intent.read && intent.write && intent.truncate);
}

// As the kernel handles it for other file systems.
TEST(Privileges, EndWithWhatOthersWrite) {
  Attributes file = sample(FileKind::write_once);
  const Caller root{.uid = 0, .gid = 0};
  const Caller member{.uid = 30, .gid = file.gid};
  const Caller stranger{.uid = 30, .gid = 31};
  for (const auto& [before, by_member, by_stranger] :
       {std::array<std::uint32_t, 3>{0755, 0755, 0755},
        {04755, 0755, 0755},
        {02755, 0755, 0755},
        {02745, 02745, 0745},
        {06777, 0777, 0777},
        {01777, 01777, 01777}}) {
    file.mode = before;
    EXPECT_EQ(mode_after_write(file, root), before);
    EXPECT_EQ(mode_after_write(file, member), by_member);
    EXPECT_EQ(mode_after_write(file, stranger), by_stranger);
  }
}

TEST(Changes, OnlyWhatIsAsked) {
  struct stat wanted {};
  wanted.st_mode = S_IFREG | 04711;
  wanted.st_uid = 1;
  wanted.st_gid = 2;
  wanted.st_atim = {10, 1};
  wanted.st_mtim = {20, 2};
  const std::timespec now{30, 3};
  const auto nothing = to_change(wanted, 0, now);
  EXPECT_FALSE(nothing.mode || nothing.uid || nothing.gid || nothing.atime || nothing.mtime);
  const auto owner = to_change(wanted, FUSE_SET_ATTR_UID | FUSE_SET_ATTR_MODE, now);
  EXPECT_EQ(owner.uid, 1u);
  EXPECT_EQ(owner.mode, 04711u);
  EXPECT_FALSE(owner.gid || owner.atime || owner.mtime);
  const auto times =
      to_change(wanted, FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW, now);
  ASSERT_TRUE(times.atime && times.mtime);
  EXPECT_EQ(times.atime->tv_sec, 10);
  EXPECT_EQ(times.mtime->tv_sec, 30);
  EXPECT_EQ(times.mtime->tv_nsec, 3);
}

}  // namespace
}  // namespace mpoolfs

#include "fuse/ops/attributes.h"

#include <algorithm>

#include <fcntl.h>
#include <sys/sysmacros.h>

namespace mpoolfs {

namespace {

constexpr blksize_t kDirectoryIoSize = 4096;

constexpr unsigned kMajorShift = 32;

dev_t to_device(std::uint64_t device) {
  return ::makedev(static_cast<unsigned>(device >> kMajorShift), static_cast<unsigned>(device));
}

}  // namespace

std::uint64_t device_number(dev_t device) {
  return std::uint64_t{::major(device)} << kMajorShift | ::minor(device);
}

std::optional<mpool::FileKind> special_kind(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFIFO:
      return mpool::FileKind::fifo;
    case S_IFSOCK:
      return mpool::FileKind::socket;
    case S_IFCHR:
      return mpool::FileKind::character_device;
    case S_IFBLK:
      return mpool::FileKind::block_device;
    default:
      return std::nullopt;
  }
}

mode_t type_bits(mpool::FileKind kind) {
  switch (kind) {
    case mpool::FileKind::directory:
      return S_IFDIR;
    case mpool::FileKind::symlink:
      return S_IFLNK;
    case mpool::FileKind::fifo:
      return S_IFIFO;
    case mpool::FileKind::socket:
      return S_IFSOCK;
    case mpool::FileKind::character_device:
      return S_IFCHR;
    case mpool::FileKind::block_device:
      return S_IFBLK;
    case mpool::FileKind::empty:
    case mpool::FileKind::write_once:
    case mpool::FileKind::log:
      break;
  }
  return S_IFREG;
}

struct stat to_stat(const mpool::Attributes& attributes, const Presentation& presentation) {
  struct stat shown {};
  shown.st_ino = attributes.inode;
  shown.st_mode = type_bits(attributes.kind) | (attributes.mode & mpool::kPermissionBits);
  shown.st_nlink = attributes.links;
  shown.st_uid = presentation.uid.value_or(attributes.uid);
  shown.st_gid = presentation.gid.value_or(attributes.gid);
  shown.st_rdev = to_device(attributes.device);
  shown.st_size = static_cast<off_t>(attributes.size);
  shown.st_blocks = static_cast<blkcnt_t>(attributes.blocks);
  shown.st_blksize = mpool::is_regular(attributes.kind) ? kPreferredIoSize : kDirectoryIoSize;
  shown.st_atim = attributes.atime;
  shown.st_mtim = attributes.mtime;
  shown.st_ctim = attributes.ctime;
  return shown;
}

double attribute_timeout(const mpool::Attributes& attributes) {
  const bool changes = attributes.being_written || attributes.kind == mpool::FileKind::log;
  return changes ? kNever : kForever;
}

double attribute_timeout_of_created(const mpool::Attributes& attributes) {
  return attributes.kind == mpool::FileKind::log
             ? kNever
             : std::max(attribute_timeout(attributes), kOpening);
}

double entry_timeout(const mpool::Attributes& attributes) {
  const bool may_be_rolled_back =
      attributes.kind == mpool::FileKind::write_once && !attributes.committed;
  return may_be_rolled_back ? kNever : kForever;
}

fuse_entry_param to_entry(const mpool::Attributes& attributes, const Presentation& presentation) {
  fuse_entry_param entry{};
  entry.ino = attributes.inode;
  entry.attr = to_stat(attributes, presentation);
  entry.attr_timeout = attribute_timeout(attributes);
  entry.entry_timeout = entry_timeout(attributes);
  return entry;
}

fuse_entry_param negative_entry() {
  fuse_entry_param entry{};
  entry.entry_timeout = kForever;
  return entry;
}

Ownership ownership_in(const mpool::Attributes& parent, const Caller& caller, mode_t mode) {
  Ownership made{.owner = {.uid = caller.uid, .gid = caller.gid},
                 .mode = mode & mpool::kPermissionBits};
  if ((parent.mode & S_ISGID) != 0) {
    made.owner.gid = parent.gid;
    if (S_ISDIR(mode)) made.mode |= S_ISGID;
  }
  return made;
}

mpool::OpenIntent to_intent(int flags) {
  const int access = flags & O_ACCMODE;
  const bool truncate = (flags & O_TRUNC) != 0;
  return {.read = access != O_WRONLY,
          .write = access != O_RDONLY || truncate,
          .append = (flags & O_APPEND) != 0,
          .truncate = truncate,
          .direct = (flags & O_DIRECT) != 0};
}

// As in the kernel for file systems whose writes it handles. A set-group-ID bit without group
// execute permission grants no rights: it stays for members of the group.
std::uint32_t mode_after_write(const mpool::Attributes& attributes, const Caller& caller) {
  if (caller.uid == 0) return attributes.mode;
  std::uint32_t mode = attributes.mode & ~static_cast<std::uint32_t>(S_ISUID);
  if ((mode & S_IXGRP) != 0 || caller.gid != attributes.gid) {
    mode &= ~static_cast<std::uint32_t>(S_ISGID);
  }
  return mode;
}

mpool::AttributeChange to_change(const struct stat& wanted, int to_set, const std::timespec& now) {
  mpool::AttributeChange change;
  if ((to_set & FUSE_SET_ATTR_MODE) != 0) change.mode = wanted.st_mode & mpool::kPermissionBits;
  if ((to_set & FUSE_SET_ATTR_UID) != 0) change.uid = wanted.st_uid;
  if ((to_set & FUSE_SET_ATTR_GID) != 0) change.gid = wanted.st_gid;
  if ((to_set & FUSE_SET_ATTR_ATIME_NOW) != 0) {
    change.atime = now;
  } else if ((to_set & FUSE_SET_ATTR_ATIME) != 0) {
    change.atime = wanted.st_atim;
  }
  if ((to_set & FUSE_SET_ATTR_MTIME_NOW) != 0) {
    change.mtime = now;
  } else if ((to_set & FUSE_SET_ATTR_MTIME) != 0) {
    change.mtime = wanted.st_mtim;
  }
  return change;
}

}  // namespace mpoolfs

#include <cerrno>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <sys/statvfs.h>

#include "engine/base/error.h"
#include "fuse/ops/operations.h"

namespace mpoolfs {

namespace {

SizedValue fitting(std::string value, std::size_t room) {
  if (room != 0 && value.size() > room) {
    mpool::raise(ERANGE, "xattr", "{} bytes for a value of {}", room, value.size());
  }
  return {.value = std::move(value), .room = room};
}

void set_size(const Call& call, mpool::InodeNumber inode, off_t size, const FileArgument& file) {
  if (size < 0) mpool::raise(EINVAL, "truncate", "negative size {}", size);
  if (file.handle != nullptr) {
    file.file().truncate(static_cast<std::uint64_t>(size));
  } else {
    call.names().truncate(inode, static_cast<std::uint64_t>(size));
  }
}

bool is_empty(const mpool::AttributeChange& change) {
  return !change.mode && !change.uid && !change.gid && !change.atime && !change.mtime;
}

}  // namespace

std::optional<mpool::Attributes> op_getattr(const Call& call, mpool::InodeNumber inode,
                                            const FileArgument&) {
  return call.names().attributes(inode, call.blocking);
}

std::optional<mpool::Attributes> op_setattr(const Call& call, mpool::InodeNumber inode,
                                            std::optional<off_t> size,
                                            const mpool::AttributeChange& change,
                                            const FileArgument& file) {
  if (size) {
    if (!call.can_block()) return std::nullopt;
    set_size(call, inode, *size, file);
  }
  // Without a size, chown(2) that leaves owner and group: it changes the ctime.
  if (size && is_empty(change)) return call.names().attributes(inode, call.blocking);
  const auto changed = call.names().set_attributes(inode, change, call.blocking);
  if (changed && change.mode && (*change.mode & kPrivilegeBits) != 0) {
    call.file_system.handles.note_privileges(inode);
  }
  return changed;
}

struct statvfs op_statfs(const Call& call, mpool::InodeNumber inode) {
  // The kernel uses inode 0 when it does not know the inode.
  const mpool::SpaceStats space = call.names().space(inode == 0 ? mpool::kRootInode : inode);
  struct statvfs stats {};
  stats.f_bsize = space.block_size;
  stats.f_frsize = space.block_size;
  stats.f_blocks = space.blocks;
  stats.f_bfree = space.free;
  stats.f_bavail = space.available;
  // The kernel has one number of free inodes: that of users.
  stats.f_files = space.files + space.available_files;
  stats.f_ffree = space.available_files;
  stats.f_favail = space.available_files;
  stats.f_namemax = mpool::kMaxNameLength;
  return stats;
}

Outcome op_setxattr(const Call& call, mpool::InodeNumber inode, std::string_view name,
                    const char* value, std::size_t size, int flags) {
  call.names().set_xattr(inode, name, {value, size}, flags);
  return Outcome::done;
}

std::optional<SizedValue> op_getxattr(const Call& call, mpool::InodeNumber inode,
                                      std::string_view name, std::size_t room) {
  auto value = call.names().get_xattr(inode, name, call.blocking);
  if (!value) return std::nullopt;
  return fitting(*std::move(value), room);
}

SizedValue op_listxattr(const Call& call, mpool::InodeNumber inode, std::size_t room) {
  std::string list;
  for (const std::string& name : call.names().list_xattrs(inode)) {
    list += name;
    list += '\0';
  }
  return fitting(std::move(list), room);
}

Outcome op_removexattr(const Call& call, mpool::InodeNumber inode, std::string_view name) {
  call.names().remove_xattr(inode, name);
  return Outcome::done;
}

}  // namespace mpoolfs

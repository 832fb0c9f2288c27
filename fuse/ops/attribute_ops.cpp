#include <cerrno>
#include <ctime>
#include <string>
#include <string_view>

#include <sys/statvfs.h>

#include "engine/base/error.h"
#include "fuse/ops/answer.h"
#include "fuse/ops/handle_of.h"
#include "fuse/ops/operations.h"
#include "fuse/ops/request_context.h"

namespace mpoolfs {

namespace {

void reply_attributes(fuse_req_t request, const FileSystem& file_system,
                      const mpool::Attributes& attributes) {
  const struct stat shown = to_stat(attributes, file_system.presentation);
  fuse_reply_attr(request, &shown, attribute_timeout(attributes));
}

// Answers a request for a value of unknown size: with the size if the kernel offered no room,
// otherwise with the value.
void reply_value(fuse_req_t request, std::string_view value, size_t room) {
  if (room == 0) {
    fuse_reply_xattr(request, value.size());
  } else if (value.size() > room) {
    fuse_reply_err(request, ERANGE);
  } else {
    fuse_reply_buf(request, value.data(), value.size());
  }
}

void set_size(FileSystem& file_system, fuse_ino_t inode, off_t size, const fuse_file_info* info) {
  if (size < 0) mpool::raise(EINVAL, "truncate", "negative size {}", size);
  if (info != nullptr) {
    KernelHandle& handle = handle_of(*info);
    handle.file().truncate(static_cast<std::uint64_t>(size));
  } else {
    file_system.names.truncate(inode, static_cast<std::uint64_t>(size));
  }
}

bool is_empty(const mpool::AttributeChange& change) {
  return !change.mode && !change.uid && !change.gid && !change.atime && !change.mtime;
}

}  // namespace

void op_getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
  answer(request, "getattr", inode, [&](FileSystem& file_system) {
    RequestContext& context = RequestContext::current();
    const auto attributes = file_system.names.attributes(inode, context.blocking());
    if (!attributes) return context.defer_to_worker(request);
    reply_attributes(request, file_system, *attributes);
  });
}

void op_setattr(fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int to_set,
                fuse_file_info* info) {
  answer(request, "setattr", inode, [&](FileSystem& file_system) {
    if ((to_set & FUSE_SET_ATTR_SIZE) != 0) set_size(file_system, inode, wanted->st_size, info);
    const mpool::AttributeChange change = to_change(*wanted, to_set, current_time());
    if (is_empty(change)) {
      return reply_attributes(request, file_system, file_system.names.attributes(inode));
    }
    const mpool::Attributes changed = file_system.names.set_attributes(inode, change);
    if (change.mode && (*change.mode & kPrivilegeBits) != 0) {
      file_system.handles.note_privileges(inode);
    }
    reply_attributes(request, file_system, changed);
  });
}

void op_statfs(fuse_req_t request, fuse_ino_t inode) {
  answer(request, "statfs", inode, [&](FileSystem& file_system) {
    // The kernel uses inode 0 when it does not know the inode.
    const mpool::SpaceStats space = file_system.names.space(inode == 0 ? mpool::kRootInode : inode);
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
    fuse_reply_statfs(request, &stats);
  });
}

void op_setxattr(fuse_req_t request, fuse_ino_t inode, const char* name, const char* value,
                 size_t size, int flags) {
  answer(request, "setxattr", inode, [&](FileSystem& file_system) {
    file_system.names.set_xattr(inode, name, {value, size}, flags);
    fuse_reply_err(request, 0);
  });
}

void op_getxattr(fuse_req_t request, fuse_ino_t inode, const char* name, size_t size) {
  answer(request, "getxattr", inode, [&](FileSystem& file_system) {
    const std::string_view wanted = name;
    reply_value(request, file_system.names.get_xattr(inode, wanted), size);
  });
}

void op_listxattr(fuse_req_t request, fuse_ino_t inode, size_t size) {
  answer(request, "listxattr", inode, [&](FileSystem& file_system) {
    std::string list;
    for (const std::string& name : file_system.names.list_xattrs(inode)) {
      list += name;
      list += '\0';
    }
    reply_value(request, list, size);
  });
}

void op_removexattr(fuse_req_t request, fuse_ino_t inode, const char* name) {
  answer(request, "removexattr", inode, [&](FileSystem& file_system) {
    file_system.names.remove_xattr(inode, name);
    fuse_reply_err(request, 0);
  });
}

}  // namespace mpoolfs

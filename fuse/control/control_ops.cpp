#include "fuse/control/control_ops.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/error.h"
#include "fuse/control/control_tree.h"
#include "fuse/ops/answer.h"
#include "fuse/ops/attributes.h"
#include "fuse/ops/directory_buffer.h"
#include "fuse/ops/file_system.h"
#include "fuse/ops/operations.h"
#include "fuse/ops/request_context.h"

namespace mpoolfs {

namespace {

using Ops = fuse_lowlevel_ops;

// Runs `handler(file_system, tree)`, which answers the request as its last action, on a thread that
// may block: providers may.
template <typename Handler>
void answer_control(fuse_req_t request, std::string_view operation, fuse_ino_t inode,
                    Handler&& handler) noexcept {
  answer(request, operation, inode, [&](FileSystem& file_system) {
    RequestContext& context = RequestContext::current();
    if (!context.can_block()) return context.defer_to_worker(request);
    std::forward<Handler>(handler)(file_system, *file_system.control);
  });
}

// --- operations that the control directory does not support ---

// Operations on an inode: answered with the errno when it is the control directory's.
template <auto Op, int kErrno>
struct Inode;
template <typename... Args, void (*Ops::*Op)(fuse_req_t, fuse_ino_t, Args...), int kErrno>
struct Inode<Op, kErrno> {
  static void call(fuse_req_t request, fuse_ino_t inode, Args... args) {
    if (ControlTree::is_control(inode)) {
      fuse_reply_err(request, kErrno);
      return;
    }
    (operations().*Op)(request, inode, args...);
  }
};

// Operations on a name in a directory.
template <auto Op, int kErrno>
struct Name;
template <typename... Args, void (*Ops::*Op)(fuse_req_t, fuse_ino_t, const char*, Args...),
          int kErrno>
struct Name<Op, kErrno> {
  static void call(fuse_req_t request, fuse_ino_t parent, const char* name, Args... args) {
    if (ControlTree::is_control_name(parent, name)) {
      fuse_reply_err(request, kErrno);
      return;
    }
    (operations().*Op)(request, parent, name, args...);
  }
};

// An operation missing in the table is left to the library, which answers ENOSYS.
template <template <auto, int> typename Guard, auto Op, int kErrno>
void guard(Ops& ops) {
  if (ops.*Op != nullptr) ops.*Op = Guard<Op, kErrno>::call;
}

void guard_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  if (ControlTree::is_control_name(parent, name)) {
    fuse_reply_err(request, EPERM);
    return;
  }
  operations().symlink(request, target, parent, name);
}

void guard_link(fuse_req_t request, fuse_ino_t inode, fuse_ino_t parent, const char* name) {
  if (ControlTree::is_control(inode) || ControlTree::is_control_name(parent, name)) {
    fuse_reply_err(request, EPERM);
    return;
  }
  operations().link(request, inode, parent, name);
}

void guard_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
                  const char* new_name, unsigned int flags) {
  if (ControlTree::is_control_name(parent, name) ||
      ControlTree::is_control_name(new_parent, new_name)) {
    fuse_reply_err(request, EPERM);
    return;
  }
  operations().rename(request, parent, name, new_parent, new_name, flags);
}

// --- names and attributes ---

double attribute_time(const mpool::Attributes& attributes) {
  return ControlTree::is_permanent(attributes.inode) ? attribute_timeout(attributes) : kNever;
}

fuse_entry_param control_entry(const mpool::Attributes& attributes,
                               const Presentation& presentation) {
  fuse_entry_param entry = to_entry(attributes, presentation);
  entry.attr_timeout = attribute_time(attributes);
  if (!ControlTree::is_permanent(attributes.inode)) entry.entry_timeout = kNever;
  return entry;
}

void control_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  if (!ControlTree::is_control_name(parent, name)) {
    return operations().lookup(request, parent, name);
  }
  if (parent == ControlTree::kDirectory && std::strcmp(name, "..") == 0) {
    return operations().lookup(request, mpool::kRootInode, ".");
  }
  answer_control(request, "lookup", parent, [&](FileSystem& file_system, ControlTree& tree) {
    const auto found = tree.lookup(parent, name);
    // Only names that never come may be remembered as absent.
    if (!found && parent != ControlTree::kDirectory) {
      fuse_reply_err(request, ENOENT);
      return;
    }
    const fuse_entry_param entry =
        found ? control_entry(*found, file_system.presentation) : negative_entry();
    fuse_reply_entry(request, &entry);
  });
}

void control_getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
  if (!ControlTree::is_control(inode)) return operations().getattr(request, inode, info);
  answer_control(request, "getattr", inode, [&](FileSystem& file_system, ControlTree& tree) {
    const mpool::Attributes attributes = tree.attributes(inode);
    const struct stat shown = to_stat(attributes, file_system.presentation);
    fuse_reply_attr(request, &shown, attribute_time(attributes));
  });
}

// The space is that of the root.
void control_statfs(fuse_req_t request, fuse_ino_t inode) {
  operations().statfs(request, ControlTree::is_control(inode) ? mpool::kRootInode : inode);
}

// There are no extended attributes.
void control_listxattr(fuse_req_t request, fuse_ino_t inode, size_t size) {
  if (!ControlTree::is_control(inode)) return operations().listxattr(request, inode, size);
  answer_control(request, "listxattr", inode, [&](FileSystem&, ControlTree& tree) {
    tree.attributes(inode);
    if (size == 0) {
      fuse_reply_xattr(request, 0);
    } else {
      fuse_reply_buf(request, nullptr, 0);
    }
  });
}

// --- contents ---

void control_open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
  if (!ControlTree::is_control(inode)) return operations().open(request, inode, info);
  answer_control(request, "open", inode, [&](FileSystem&, ControlTree& tree) {
    info->fh = tree.open(inode, to_intent(info->flags));
    info->direct_io = 1;
    // The kernel has dropped the request and will not release the handle.
    if (fuse_reply_open(request, info) == -ENOENT) tree.close(info->fh);
  });
}

void control_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                  fuse_file_info* info) {
  if (!ControlTree::is_control(inode)) return operations().read(request, inode, size, offset, info);
  answer_control(request, "read", inode, [&](FileSystem&, ControlTree& tree) {
    const std::string part = tree.read(info->fh, checked_offset(offset), size);
    fuse_reply_buf(request, part.data(), part.size());
  });
}

void control_write(fuse_req_t request, fuse_ino_t inode, const char* data, size_t size,
                   off_t offset, fuse_file_info* info) {
  if (!ControlTree::is_control(inode)) {
    return operations().write(request, inode, data, size, offset, info);
  }
  answer_control(request, "write", inode, [&](FileSystem&, ControlTree& tree) {
    tree.write(info->fh, checked_offset(offset), mpool::as_bytes(data, size));
    fuse_reply_write(request, size);
  });
}

void control_ioctl(fuse_req_t request, fuse_ino_t inode, unsigned command, void*,
                   fuse_file_info* info, unsigned flags, const void* in, size_t in_size,
                   size_t out_size) {
  if (!ControlTree::is_control(inode)) {
    fuse_reply_err(request, ENOSYS);  // as the library without this function
    return;
  }
  answer_control(request, "ioctl", inode, [&](FileSystem&, ControlTree& tree) {
    if ((flags & FUSE_IOCTL_DIR) != 0) mpool::raise(ENOTTY, "ioctl", "of a directory");
    const std::vector<std::byte> out =
        tree.ioctl(info->fh, command, mpool::as_bytes(in, in_size), out_size);
    fuse_reply_ioctl(request, 0, out.data(), out.size());
  });
}

void control_release(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
  if (!ControlTree::is_control(inode)) return operations().release(request, inode, info);
  answer_control(request, "release", inode, [&](FileSystem&, ControlTree& tree) {
    tree.close(info->fh);
    fuse_reply_err(request, 0);
  });
}

// --- the directory ---

void list_control(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, bool plus) {
  answer_control(request, "readdir", inode, [&](FileSystem& file_system, ControlTree& tree) {
    const DirectorySource source{.inode = inode,
                                 .parent = [inode] { return ControlTree::parent_of(inode); },
                                 .read =
                                     [&](std::uint64_t cookie, const DirectorySource::Take& take) {
                                       tree.read_directory(inode, cookie, take);
                                     },
                                 .describe =
                                     [&](mpool::InodeNumber entry) {
                                       return control_entry(tree.attributes(entry),
                                                            file_system.presentation);
                                     },
                                 .ref = {}};
    const auto data = list_directory(source, static_cast<std::uint64_t>(offset), size, plus);
    fuse_reply_buf(request, data->data(), data->size());
  });
}

void control_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                     fuse_file_info* info) {
  if (ControlTree::is_control(inode)) return list_control(request, inode, size, offset, false);
  operations().readdir(request, inode, size, offset, info);
}

void control_readdirplus(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                         fuse_file_info* info) {
  if (ControlTree::is_control(inode)) return list_control(request, inode, size, offset, true);
  operations().readdirplus(request, inode, size, offset, info);
}

// --- the table ---

void guard_names(Ops& ops) {
  guard<Name, &Ops::mknod, EPERM>(ops);
  guard<Name, &Ops::mkdir, EPERM>(ops);
  guard<Name, &Ops::unlink, EPERM>(ops);
  guard<Name, &Ops::rmdir, EPERM>(ops);
  guard<Name, &Ops::create, EPERM>(ops);
  ops.symlink = guard_symlink;
  ops.link = guard_link;
  ops.rename = guard_rename;
}

// Changes are refused; close and fsync succeed. opendir and releasedir are passed on: whether
// directories are opened at all is negotiated for the whole mount.
void guard_inodes(Ops& ops) {
  guard<Inode, &Ops::readlink, EINVAL>(ops);
  guard<Inode, &Ops::setattr, EPERM>(ops);
  guard<Inode, &Ops::setxattr, ENOTSUP>(ops);
  guard<Inode, &Ops::getxattr, ENODATA>(ops);
  guard<Inode, &Ops::removexattr, ENOTSUP>(ops);
  guard<Inode, &Ops::write_buf, EBADF>(ops);
  guard<Inode, &Ops::fallocate, EBADF>(ops);
  guard<Inode, &Ops::copy_file_range, EXDEV>(ops);
  guard<Inode, &Ops::lseek, EINVAL>(ops);
  guard<Inode, &Ops::flush, 0>(ops);
  guard<Inode, &Ops::fsync, 0>(ops);
  guard<Inode, &Ops::fsyncdir, 0>(ops);
}

}  // namespace

const fuse_lowlevel_ops& operations_with_control() {
  static const Ops table = [] {
    Ops ops = operations();
    guard_names(ops);
    guard_inodes(ops);
    ops.lookup = control_lookup;
    ops.getattr = control_getattr;
    ops.statfs = control_statfs;
    ops.listxattr = control_listxattr;
    ops.open = control_open;
    ops.read = control_read;
    ops.write = control_write;
    ops.ioctl = control_ioctl;
    ops.release = control_release;
    ops.readdir = control_readdir;
    ops.readdirplus = control_readdirplus;
    return ops;
  }();
  return table;
}

}  // namespace mpoolfs

#include "fuse/control/control_ops.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include "engine/base/error.h"
#include "fuse/control/control_tree.h"
#include "fuse/ops/answer.h"
#include "fuse/ops/directory_buffer.h"
#include "fuse/ops/operations.h"

namespace mpoolfs {

namespace {

using Ops = fuse_lowlevel_ops;

// Replies with what `handler(call, tree)` returns, on a thread that may block: providers may.
template <typename Handler>
void answer_control(fuse_req_t request, std::string_view operation, fuse_ino_t inode,
                    const Handler& handler) noexcept {
  using Value = std::invoke_result_t<const Handler&, const Call&, ControlTree&>;
  answer(request, operation, inode, [&](const Call& call) -> std::optional<Value> {
    if (!call.can_block()) return std::nullopt;
    return handler(call, *call.file_system.control);
  });
}

// An open file of the control tree on its way to the kernel. Unless kept, it is closed again.
class OpenedControl {
 public:
  OpenedControl(ControlTree& tree, ControlTree::HandleNumber number)
      : tree_(tree), number_(number) {}
  ~OpenedControl() {
    if (number_ != 0) tree_.close(number_);
  }
  OpenedControl(OpenedControl&& other) noexcept
      : tree_(other.tree_), number_(std::exchange(other.number_, 0)) {}
  OpenedControl& operator=(OpenedControl&&) = delete;

  OpenReply reply() const { return tree_.reply(number_); }
  void keep() noexcept { number_ = 0; }

 private:
  ControlTree& tree_;
  ControlTree::HandleNumber number_;
};

// --- operations that the control directory does not support ---

// Operations on an inode: answered with the errno when it is the control directory's.
template <auto Op, int kErrno>
struct Inode;
template <typename... Args, void (*Ops::*Op)(fuse_req_t, fuse_ino_t, Args...), int kErrno>
struct Inode<Op, kErrno> {
  static void call(fuse_req_t request, fuse_ino_t inode, Args... args) {
    if (ControlTree::is_control(inode)) {
      return Reply(request).refuse(kErrno);
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
      return Reply(request).refuse(kErrno);
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
    return Reply(request).refuse(EPERM);
  }
  operations().symlink(request, target, parent, name);
}

void guard_link(fuse_req_t request, fuse_ino_t inode, fuse_ino_t parent, const char* name) {
  if (ControlTree::is_control(inode) || ControlTree::is_control_name(parent, name)) {
    return Reply(request).refuse(EPERM);
  }
  operations().link(request, inode, parent, name);
}

void guard_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
                  const char* new_name, unsigned int flags) {
  if (ControlTree::is_control_name(parent, name) ||
      ControlTree::is_control_name(new_parent, new_name)) {
    return Reply(request).refuse(EPERM);
  }
  operations().rename(request, parent, name, new_parent, new_name, flags);
}

// --- names and attributes ---

double attribute_time(const mpool::Attributes& attributes) {
  const bool stays = attributes.inode == ControlTree::kDirectory ||
                     (ControlTree::is_permanent(attributes.inode) &&
                      attributes.kind != mpool::FileKind::directory);
  return stays ? attribute_timeout(attributes) : kNever;
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
  answer_control(request, "lookup", parent, [&](const Call& call, ControlTree& tree) {
    const auto found = tree.lookup(parent, name);
    if (found) return control_entry(*found, call.file_system.presentation);
    // Only names that never come may be remembered as absent.
    if (parent != ControlTree::kDirectory) mpool::raise(ENOENT, name, "no such name");
    return negative_entry();
  });
}

void control_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  if (!ControlTree::is_control_name(parent, name)) {
    return operations().unlink(request, parent, name);
  }
  answer_control(request, "unlink", parent, [&](const Call&, ControlTree& tree) {
    tree.remove(parent, name);
    return Outcome::done;
  });
}

void control_getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
  if (!ControlTree::is_control(inode)) return operations().getattr(request, inode, info);
  answer_control(request, "getattr", inode, [&](const Call& call, ControlTree& tree) {
    const mpool::Attributes attributes = tree.attributes(inode);
    return TimedAttributes{.shown = to_stat(attributes, call.file_system.presentation),
                           .timeout = attribute_time(attributes)};
  });
}

// The space is that of the root.
void control_statfs(fuse_req_t request, fuse_ino_t inode) {
  operations().statfs(request, ControlTree::is_control(inode) ? mpool::kRootInode : inode);
}

// There are no extended attributes.
void control_listxattr(fuse_req_t request, fuse_ino_t inode, size_t size) {
  if (!ControlTree::is_control(inode)) return operations().listxattr(request, inode, size);
  answer_control(request, "listxattr", inode, [&](const Call&, ControlTree& tree) {
    tree.attributes(inode);
    return SizedValue{.value = {}, .room = size};
  });
}

// --- contents ---

void control_open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
  if (!ControlTree::is_control(inode)) return operations().open(request, inode, info);
  answer_control(request, "open", inode, [&](const Call& call, ControlTree& tree) {
    return OpenedControl(tree, tree.open(inode, to_intent(info->flags), call.caller));
  });
}

void control_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                  fuse_file_info* info) {
  if (!ControlTree::is_control(inode)) return operations().read(request, inode, size, offset, info);
  answer_control(request, "read", inode, [&](const Call&, ControlTree& tree) {
    return tree.read(info->fh, checked_offset(offset), size);
  });
}

void control_write(fuse_req_t request, fuse_ino_t inode, const char* data, size_t size,
                   off_t offset, fuse_file_info* info) {
  if (!ControlTree::is_control(inode)) {
    return operations().write(request, inode, data, size, offset, info);
  }
  answer_control(request, "write", inode, [&](const Call&, ControlTree& tree) {
    tree.write(info->fh, checked_offset(offset), mpool::as_bytes(data, size));
    return Written{.state = mpool::IoState::done, .size = size};
  });
}

void control_ioctl(fuse_req_t request, fuse_ino_t inode, unsigned command, void*,
                   fuse_file_info* info, unsigned flags, const void* in, size_t in_size,
                   size_t out_size) {
  if (!ControlTree::is_control(inode)) {
    return Reply(request).refuse(ENOSYS);  // as the library without this function
  }
  answer_control(request, "ioctl", inode, [&](const Call&, ControlTree& tree) {
    if ((flags & FUSE_IOCTL_DIR) != 0) mpool::raise(ENOTTY, "ioctl", "of a directory");
    return IoctlData{tree.ioctl(info->fh, command, mpool::as_bytes(in, in_size), out_size)};
  });
}

void control_flush(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
  if (!ControlTree::is_control(inode)) return operations().flush(request, inode, info);
  answer_control(request, "flush", inode, [&](const Call&, ControlTree& tree) {
    tree.flush(info->fh);
    return Outcome::done;
  });
}

void control_release(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
  if (!ControlTree::is_control(inode)) return operations().release(request, inode, info);
  answer(request, "release", inode, [&](const Call& call) {
    ControlTree& tree = *call.file_system.control;
    if (!call.can_block()) {
      tree.begin_close(info->fh);
      return Outcome::would_block;
    }
    tree.close(info->fh);
    return Outcome::done;
  });
}

// --- the directory ---

void list_control(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, bool plus) {
  answer_control(request, "readdir", inode, [&](const Call& call, ControlTree& tree) {
    const DirectorySource source{.inode = inode,
                                 .parent = [inode] { return ControlTree::parent_of(inode); },
                                 .read =
                                     [&](std::uint64_t cookie, const DirectorySource::Take& take) {
                                       tree.read_directory(inode, cookie, take);
                                     },
                                 .describe =
                                     [&](mpool::InodeNumber entry) {
                                       return control_entry(tree.attributes(entry),
                                                            call.file_system.presentation);
                                     },
                                 .ref = {}};
    return *list_directory(source, static_cast<std::uint64_t>(offset), size, plus);
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
  guard<Name, &Ops::rmdir, EPERM>(ops);
  guard<Name, &Ops::create, EPERM>(ops);
  ops.symlink = guard_symlink;
  ops.link = guard_link;
  ops.rename = guard_rename;
}

// Changes are refused; fsync succeeds. opendir and releasedir are passed on: whether
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
    ops.unlink = control_unlink;
    ops.getattr = control_getattr;
    ops.statfs = control_statfs;
    ops.listxattr = control_listxattr;
    ops.open = control_open;
    ops.read = control_read;
    ops.write = control_write;
    ops.ioctl = control_ioctl;
    ops.flush = control_flush;
    ops.release = control_release;
    ops.readdir = control_readdir;
    ops.readdirplus = control_readdirplus;
    return ops;
  }();
  return table;
}

}  // namespace mpoolfs

#include <cerrno>
#include <span>
#include <string_view>

#include <fcntl.h>

#include "engine/base/error.h"
#include "fuse/ops/operations.h"

namespace mpoolfs {

namespace {

// False: the inode no longer exists.
bool take_reference(const Call& call, mpool::InodeNumber inode) {
  call.names().ref({&inode, 1});
  return inode != 0;
}

// A new entry of a directory. The kernel keeps the directory locked until the answer, so that the
// inode cannot lose the entry before the reference is taken.
Entry made(const Call& call, mpool::InodeNumber parent, const mpool::Attributes& attributes) {
  call.file_system.notifier->entries_changed(parent);
  take_reference(call, attributes.inode);
  return {attributes};
}

// The inodes of "." and ".." of a directory; requested only by the kernel's NFS server, which knows
// inodes by number alone.
mpool::Attributes lookup_dots(const Call& call, mpool::InodeNumber parent, std::string_view name) {
  mpool::Namespace& names = call.names();
  const mpool::Attributes found = names.attributes(name == "." ? parent : names.parent_of(parent));
  if (!take_reference(call, found.inode)) {
    mpool::raise(ESTALE, "lookup", "inode {} does not exist any more", found.inode);
  }
  return found;
}

Outcome removed(const Call& call, mpool::InodeNumber parent, bool done) {
  if (done) call.file_system.notifier->entries_changed(parent);
  return done_if(done);
}

mpool::RenameMode rename_mode(unsigned flags) {
  switch (flags) {
    case 0:
      return mpool::RenameMode::replace;
    case RENAME_NOREPLACE:
      return mpool::RenameMode::no_replace;
    case RENAME_EXCHANGE:
      return mpool::RenameMode::exchange;
    default:  // the kernel refuses an exchange that leaves a whiteout
      mpool::raise(EINVAL, "rename", "flags {:#x} are not supported", flags);
  }
}

}  // namespace

Ownership ownership_of_new(const Call& call, mpool::InodeNumber parent, mode_t mode) {
  return ownership_in(call.names().attributes(parent), call.caller, mode);
}

mpool::LookupAnswer op_lookup(const Call& call, mpool::InodeNumber parent, std::string_view name) {
  if (name == "." || name == "..") {
    return {.kind = mpool::LookupAnswer::Kind::found,
            .attributes = lookup_dots(call, parent, name)};
  }
  return call.names().lookup(parent, name, mpool::LookupReference::take, call.blocking);
}

Outcome op_forget(const Call& call, std::span<const mpool::InodeReferences> references) {
  return done_if(call.names().unref(references, call.blocking));
}

Entry op_mknod(const Call& call, mpool::InodeNumber parent, std::string_view name, mode_t mode,
               dev_t device) {
  const Ownership owned = ownership_of_new(call, parent, mode);
  const auto kind = special_kind(mode);
  return made(call, parent,
              kind ? call.names().make_special(parent, name, *kind, owned.mode, owned.owner,
                                               device_number(device))
                   : call.names().make_file(parent, name, owned.mode, owned.owner));
}

std::optional<Entry> op_mkdir(const Call& call, mpool::InodeNumber parent, std::string_view name,
                              mode_t mode) {
  const Ownership owned = ownership_of_new(call, parent, mode | S_IFDIR);
  const auto attributes =
      call.names().make_directory(parent, name, owned.mode, owned.owner, call.blocking);
  if (!attributes) return std::nullopt;
  return made(call, parent, *attributes);
}

Outcome op_unlink(const Call& call, mpool::InodeNumber parent, std::string_view name) {
  return removed(call, parent, call.names().unlink(parent, name, call.blocking));
}

Outcome op_rmdir(const Call& call, mpool::InodeNumber parent, std::string_view name) {
  return removed(call, parent, call.names().remove_directory(parent, name, call.blocking));
}

Entry op_symlink(const Call& call, mpool::InodeNumber parent, std::string_view name,
                 std::string_view target) {
  const Ownership owned = ownership_of_new(call, parent, S_IFLNK | 0777);
  return made(call, parent, call.names().make_symlink(parent, name, target, owned.owner));
}

LinkTarget op_readlink(const Call& call, mpool::InodeNumber inode) {
  return {call.names().read_symlink(inode)};
}

Outcome op_rename(const Call& call, mpool::InodeNumber parent, std::string_view name,
                  mpool::InodeNumber new_parent, std::string_view new_name, unsigned flags) {
  mpool::Whiteout whiteout;
  if ((flags & RENAME_WHITEOUT) != 0) whiteout = ownership_of_new(call, parent, S_IFCHR).owner;
  if (!call.names().rename(parent, name, new_parent, new_name,
                           rename_mode(flags & ~RENAME_WHITEOUT), whiteout, call.blocking)) {
    return Outcome::would_block;
  }
  call.file_system.notifier->entries_changed(parent);
  call.file_system.notifier->entries_changed(new_parent);
  return Outcome::done;
}

Entry op_link(const Call& call, mpool::InodeNumber inode, mpool::InodeNumber new_parent,
              std::string_view new_name) {
  return made(call, new_parent, call.names().link(inode, new_parent, new_name));
}

}  // namespace mpoolfs

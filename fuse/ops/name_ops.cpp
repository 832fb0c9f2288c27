#include <cerrno>
#include <cstdio>
#include <exception>
#include <new>
#include <span>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include "engine/base/error.h"
#include "fuse/ops/answer.h"
#include "fuse/ops/operations.h"
#include "fuse/ops/request_context.h"

namespace mpoolfs {

namespace {

// Answers with an entry to which a reference was taken. If the answer does not reach the kernel,
// the connection has ended, and with it all references.
void reply_entry(fuse_req_t request, const FileSystem& file_system,
                 const mpool::Attributes& attributes) {
  const fuse_entry_param entry = to_entry(attributes, file_system.presentation);
  fuse_reply_entry(request, &entry);
}

// False: the inode no longer exists.
bool take_reference(FileSystem& file_system, mpool::InodeNumber inode) {
  file_system.names.ref({&inode, 1});
  return inode != 0;
}

// A new entry of a directory. The kernel keeps the directory locked until the answer, so that the
// inode cannot lose the entry before the reference is taken.
void reply_made(fuse_req_t request, FileSystem& file_system, fuse_ino_t parent,
                const mpool::Attributes& attributes) {
  file_system.notifier->entries_changed(parent);
  take_reference(file_system, attributes.inode);
  reply_entry(request, file_system, attributes);
}

void reply_absent(fuse_req_t request) {
  const fuse_entry_param none = negative_entry();
  fuse_reply_entry(request, &none);
}

Ownership ownership_of_new(FileSystem& file_system, fuse_req_t request, fuse_ino_t parent,
                           mode_t mode) {
  return ownership_in(file_system.names.attributes(parent), *fuse_req_ctx(request), mode);
}

// The inodes of "." and ".." of a directory; requested only by the kernel's NFS server, which knows
// inodes by number alone.
mpool::Attributes lookup_dots(FileSystem& file_system, fuse_ino_t parent, std::string_view name) {
  mpool::Namespace& names = file_system.names;
  const mpool::Attributes found = names.attributes(name == "." ? parent : names.parent_of(parent));
  if (!take_reference(file_system, found.inode)) {
    mpool::raise(ESTALE, "lookup", "inode {} does not exist any more", found.inode);
  }
  return found;
}

// A FORGET has no answer, not even on failure.
void forget(fuse_req_t request, std::span<const mpool::InodeReferences> references) noexcept {
  try {
    mpool::Namespace& names = file_system_of(request).names;
    RequestContext& context = RequestContext::current();
    if (!names.unref(references, context.blocking())) return context.defer_to_worker(request);
  } catch (const std::exception& error) {
    spdlog::error("inode {}: forgetting: {}", references.front().inode, error.what());
  }
  fuse_reply_none(request);
}

mpool::RenameMode rename_mode(unsigned int flags) {
  switch (flags) {
    case 0:
      return mpool::RenameMode::replace;
    case RENAME_NOREPLACE:
      return mpool::RenameMode::no_replace;
    case RENAME_EXCHANGE:
      return mpool::RenameMode::exchange;
    default:
      mpool::raise(EINVAL, "rename", "flags {:#x} are not supported", flags);
  }
}

}  // namespace

void op_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  answer(request, "lookup", parent, [&](FileSystem& file_system) {
    const std::string_view wanted = name;
    if (wanted == "." || wanted == "..") {
      return reply_entry(request, file_system, lookup_dots(file_system, parent, wanted));
    }
    RequestContext& context = RequestContext::current();
    const mpool::LookupAnswer found =
        file_system.names.lookup(parent, wanted, mpool::LookupReference::take, context.blocking());
    switch (found.kind) {
      case mpool::LookupAnswer::Kind::found:
        return reply_entry(request, file_system, *found);
      case mpool::LookupAnswer::Kind::absent:
        return reply_absent(request);
      case mpool::LookupAnswer::Kind::would_block:
        return context.defer_to_worker(request);
    }
  });
}

void op_forget(fuse_req_t request, fuse_ino_t inode, uint64_t lookups) {
  const mpool::InodeReferences references{.inode = inode, .count = lookups};
  forget(request, {&references, 1});
}

void op_forget_multi(fuse_req_t request, size_t count, fuse_forget_data* forgets) {
  std::vector<mpool::InodeReferences> references;
  try {
    for (const fuse_forget_data& forgotten : std::span(forgets, count))
      references.push_back({.inode = forgotten.ino, .count = forgotten.nlookup});
  } catch (const std::bad_alloc&) {
    // On failure the forgotten inodes are kept until the end of the mount.
    return fuse_reply_none(request);
  }
  forget(request, references);
}

void op_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  answer(request, "mknod", parent, [&](FileSystem& file_system) {
    const Ownership made = ownership_of_new(file_system, request, parent, mode);
    const auto kind = special_kind(mode);
    reply_made(request, file_system, parent,
               kind ? file_system.names.make_special(parent, name, *kind, made.mode, made.owner,
                                                     device_number(device))
                    : file_system.names.make_file(parent, name, made.mode, made.owner));
  });
}

void op_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  answer(request, "mkdir", parent, [&](FileSystem& file_system) {
    const Ownership made = ownership_of_new(file_system, request, parent, mode | S_IFDIR);
    reply_made(request, file_system, parent,
               file_system.names.make_directory(parent, name, made.mode, made.owner));
  });
}

void op_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  answer(request, "unlink", parent, [&](FileSystem& file_system) {
    RequestContext& context = RequestContext::current();
    if (!file_system.names.unlink(parent, name, context.blocking())) {
      return context.defer_to_worker(request);
    }
    file_system.notifier->entries_changed(parent);
    fuse_reply_err(request, 0);
  });
}

void op_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  answer(request, "rmdir", parent, [&](FileSystem& file_system) {
    RequestContext& context = RequestContext::current();
    if (!file_system.names.remove_directory(parent, name, context.blocking())) {
      return context.defer_to_worker(request);
    }
    file_system.notifier->entries_changed(parent);
    fuse_reply_err(request, 0);
  });
}

void op_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  answer(request, "symlink", parent, [&](FileSystem& file_system) {
    const Ownership made = ownership_of_new(file_system, request, parent, S_IFLNK | 0777);
    reply_made(request, file_system, parent,
               file_system.names.make_symlink(parent, name, target, made.owner));
  });
}

void op_readlink(fuse_req_t request, fuse_ino_t inode) {
  answer(request, "readlink", inode, [&](FileSystem& file_system) {
    fuse_reply_readlink(request, file_system.names.read_symlink(inode).c_str());
  });
}

void op_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned int flags) {
  answer(request, "rename", parent, [&](FileSystem& file_system) {
    file_system.names.rename(parent, name, new_parent, new_name, rename_mode(flags));
    file_system.notifier->entries_changed(parent);
    file_system.notifier->entries_changed(new_parent);
    fuse_reply_err(request, 0);
  });
}

void op_link(fuse_req_t request, fuse_ino_t inode, fuse_ino_t new_parent, const char* new_name) {
  answer(request, "link", inode, [&](FileSystem& file_system) {
    reply_made(request, file_system, new_parent,
               file_system.names.link(inode, new_parent, new_name));
  });
}

}  // namespace mpoolfs

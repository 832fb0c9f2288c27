// Lookups, attributes and listings.
#include <algorithm>
#include <cerrno>

#include "engine/base/error.h"
#include "engine/names/namespace.h"
#include "engine/names/times.h"

namespace mpool::names {
namespace {

constexpr std::uint64_t kStatBlockSize = 512;

[[noreturn]] void refuse_absent(std::string_view name) {
  refuse(ENOENT, name, "no such file or directory");
}

}  // namespace

InodeNumber NamespaceImpl::find_or_none(const Inode& directory, std::string_view name) const {
  if (name.size() > kMaxNameLength) refuse(ENAMETOOLONG, name, "the name is too long");
  return directory.directory->find(name);
}

InodeNumber NamespaceImpl::find_name(const Inode& directory, std::string_view name) const {
  const InodeNumber number = find_or_none(directory, name);
  if (number == 0) refuse_absent(name);
  return number;
}

void NamespaceImpl::check_new_name(const Inode& directory, std::string_view name) const {
  if (name.size() > kMaxNameLength) refuse(ENAMETOOLONG, name, "the name is too long");
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string_view::npos) {
    refuse(EINVAL, name, "is no name for a file");
  }
  if (directory.links == 0) refuse(ENOENT, name, "its directory was removed");
  if (directory.directory->find(name) != 0) refuse(EEXIST, name, "the name exists");
}

Attributes NamespaceImpl::describe(const Inode& inode) const {
  Attributes result{.inode = inode.number,
                    .kind = inode.kind,
                    .mode = inode.attributes.mode,
                    .uid = inode.attributes.uid,
                    .gid = inode.attributes.gid,
                    .links = inode.links,
                    .size = inode.size,
                    .blocks = 0,
                    .atime = to_timespec(inode.attributes.atime),
                    .mtime = to_timespec(inode.attributes.mtime),
                    .ctime = to_timespec(inode.attributes.ctime),
                    .committed = is_committed(inode),
                    .being_written = is_being_written(inode)};
  if (is_being_written(inode)) {
    result.size = inode.open->writer->length();
    const Nanoseconds written = inode.open->content_written_at;
    if (written != 0 && !inode.open->times_set) {
      result.mtime = to_timespec(written);
      result.ctime = to_timespec(std::max(written, inode.attributes.ctime));
    }
  }
  if (const Nanoseconds written = inode.open ? inode.open->log_written_at.load() : 0;
      written != 0) {
    result.mtime = result.ctime = to_timespec(written);
  }
  if (inode.kind == FileKind::symlink) result.size = inode.target->size();
  if (is_special(inode.kind)) std::swap(result.size, result.device);
  if (inode.extents) {
    // The class may be missing (forced activation).
    const std::uint64_t zone =
        pool_.has_class(inode.media_class) ? pool_.zone_size(inode.media_class) : 0;
    result.blocks = inode.object_count * zone / kStatBlockSize;
  } else if (is_being_written(inode)) {
    result.blocks = ceil_div(result.size, kStatBlockSize);
  }
  return result;
}

// Completes the result of describe(), with the tree's lock held; false when the size of a log is
// unknown, or not exact.
bool NamespaceImpl::try_set_log_size(const Inode& inode, Attributes& attributes) const {
  if (inode.kind != FileKind::log) return true;
  if (!inode.extents) {
    attributes.size = 0;
    return true;
  }
  if (!inode.open) return inode.size_exact;
  // log_lock comes before the tree's: it must be free. The inode cannot be dropped meanwhile.
  const LogReadLock log(inode.open->log_lock, std::try_to_lock);
  if (!log) return false;
  if (!inode.open->log) return inode.size_exact;
  attributes.size = inode.open->log->known_size();
  return true;
}

// The result of describe(), with the size of a log; the tree's lock must not be held for that.
Attributes NamespaceImpl::with_log_size(Attributes attributes) {
  if (attributes.kind == FileKind::log) attributes.size = log_size(attributes.inode);
  return attributes;
}

LookupAnswer NamespaceImpl::look_up_once(InodeNumber parent, std::string_view name,
                                         LookupReference reference) {
  const TreeReadLock lock(tree_mutex_);
  const InodeNumber number = find_or_none(tree_.get_directory(parent), name);
  if (number == 0) return {.kind = LookupAnswer::Kind::absent};
  Inode& inode = tree_.get(number);
  LookupAnswer answer{.kind = LookupAnswer::Kind::found, .attributes = describe(inode)};
  if (is_committing(inode) || !try_set_log_size(inode, answer.attributes)) {
    answer.kind = LookupAnswer::Kind::would_block;
  } else if (reference == LookupReference::take) {
    inode.references.fetch_add(1, std::memory_order_relaxed);
  }
  return answer;
}

LookupAnswer NamespaceImpl::lookup(InodeNumber parent, std::string_view name,
                                   LookupReference reference, Blocking blocking) {
  for (;;) {
    LookupAnswer answer = look_up_once(parent, name, reference);
    if (answer.kind != LookupAnswer::Kind::would_block || blocking == Blocking::forbidden) {
      return answer;
    }
    InodeNumber inode = answer.attributes.inode;
    if (answer.attributes.being_written) {
      wait_for_commit(inode);
      continue;
    }
    answer.attributes = with_log_size(answer.attributes);
    answer.kind = LookupAnswer::Kind::found;
    if (reference == LookupReference::take) ref({&inode, 1});
    // Otherwise the inode is gone, and its name too.
    if (inode != 0) return answer;
  }
}

std::optional<Attributes> NamespaceImpl::attributes(InodeNumber number, Blocking blocking) {
  for (;;) {
    Attributes found;
    bool committing = false;
    {
      const TreeReadLock lock(tree_mutex_);
      const Inode& inode = tree_.get(number);
      committing = is_committing(inode);
      found = describe(inode);
      if (!committing && try_set_log_size(inode, found)) return found;
    }
    if (blocking == Blocking::forbidden) return std::nullopt;
    if (!committing) return with_log_size(found);
    wait_for_commit(number);
  }
}

std::string NamespaceImpl::read_symlink(InodeNumber number) {
  const TreeReadLock lock(tree_mutex_);
  const Inode& inode = tree_.get(number);
  if (inode.kind != FileKind::symlink) {
    raise(EINVAL, "namespace", "inode {} is no symbolic link", number);
  }
  return *inode.target;
}

InodeNumber NamespaceImpl::parent_of(InodeNumber directory) {
  const TreeReadLock lock(tree_mutex_);
  return tree_.get_directory(directory).parent;
}

void NamespaceImpl::read_directory(InodeNumber number, std::uint64_t cookie,
                                   const std::function<bool(const DirectoryEntry&)>& take) {
  const TreeReadLock lock(tree_mutex_);
  const auto& entries = tree_.get_directory(number).directory->entries();
  for (auto it = entries.upper_bound(cookie); it != entries.end(); ++it) {
    const InodeNumber inode = it->second.inode;
    if (!take({it->first, it->second.name, inode, tree_.get(inode).kind})) return;
  }
}

}  // namespace mpool::names

namespace mpool {

Attributes Namespace::lookup(InodeNumber parent, std::string_view name, LookupReference reference) {
  const LookupAnswer answer = lookup(parent, name, reference, Blocking::allowed);
  if (answer.kind == LookupAnswer::Kind::absent) names::refuse_absent(name);
  return *answer;
}

}  // namespace mpool

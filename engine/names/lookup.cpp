// Lookups, attributes and listings.
#include <cerrno>

#include "engine/base/error.h"
#include "engine/names/namespace_impl.h"

namespace mpool::names {

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

// The size of a log is the end of its records: they must be read unless the log is open.
std::uint64_t NamespaceImpl::log_size(InodeNumber number) {
  State state;
  {
    const TreeLock lock(tree_.mutex());
    Inode* inode = tree_.find(number);
    if (inode == nullptr || !inode->extents) return 0;
    state = inodes_.pin(*inode, FileHolder::call);
  }
  std::exception_ptr failure;
  std::uint64_t size = 0;
  try {
    size = logs_.size(number, *state);
  } catch (...) {
    failure = std::current_exception();
  }
  {
    const ChangeLock lock = tree_.lock_for_change();
    inodes_.unpin(number, FileHolder::call);
  }
  if (failure) std::rethrow_exception(failure);
  return size;
}

// The result of describe(), with the size of a log; the tree's lock must not be held for that.
Attributes NamespaceImpl::with_log_size(Attributes attributes) {
  if (attributes.kind == FileKind::log) attributes.size = log_size(attributes.inode);
  return attributes;
}

LookupAnswer NamespaceImpl::look_up_once(InodeNumber parent, std::string_view name,
                                         LookupReference reference) {
  const TreeReadLock lock(tree_.mutex());
  const InodeNumber number = tree_.find_or_none(tree_.get_directory(parent), name);
  if (number == 0) return {.kind = LookupAnswer::Kind::absent};
  Inode& inode = tree_.get(number);
  LookupAnswer answer{.kind = LookupAnswer::Kind::found, .attributes = inodes_.describe(inode)};
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
      committer_.wait_for_commit(inode);
      continue;
    }
    answer.attributes = with_log_size(answer.attributes);
    answer.kind = LookupAnswer::Kind::found;
    if (reference == LookupReference::take) inodes_.ref({&inode, 1});
    // Otherwise the inode is gone, and its name too.
    if (inode != 0) return answer;
  }
}

std::optional<Attributes> NamespaceImpl::attributes(InodeNumber number, Blocking blocking) {
  for (;;) {
    Attributes found;
    bool committing = false;
    {
      const TreeReadLock lock(tree_.mutex());
      const Inode& inode = tree_.get(number);
      committing = is_committing(inode);
      found = inodes_.describe(inode);
      if (!committing && try_set_log_size(inode, found)) return found;
    }
    if (blocking == Blocking::forbidden) return std::nullopt;
    if (!committing) return with_log_size(found);
    committer_.wait_for_commit(number);
  }
}

std::string NamespaceImpl::read_symlink(InodeNumber number) {
  const TreeReadLock lock(tree_.mutex());
  const Inode& inode = tree_.get(number);
  if (inode.kind != FileKind::symlink) {
    raise(EINVAL, "namespace", "inode {} is no symbolic link", number);
  }
  return *inode.target;
}

InodeNumber NamespaceImpl::parent_of(InodeNumber directory) {
  const TreeReadLock lock(tree_.mutex());
  return tree_.get_directory(directory).parent;
}

void NamespaceImpl::read_directory(InodeNumber number, std::uint64_t cookie,
                                   const std::function<bool(const DirectoryEntry&)>& take) {
  const TreeReadLock lock(tree_.mutex());
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

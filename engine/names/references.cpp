// The lifetime of inodes: as long as they have a name, an open file or a reference.
#include <algorithm>

#include "engine/names/namespace.h"

namespace mpool::names {

NamespaceImpl::State NamespaceImpl::pin_inode(Inode& inode) {
  if (!inode.open) inode.open = std::make_shared<ActiveInode>();
  ++inode.open->handles;
  return inode.open;
}

void NamespaceImpl::unpin_inode(InodeNumber number) {
  Inode& inode = tree_.get(number);
  if (--inode.open->handles > 0) return;
  if (inode.links == 0) {
    destroy_unless_referenced(inode);
  } else if (inode.kind == FileKind::log) {
    cache_closed_log(inode);
  } else {
    inode.open.reset();
  }
}

void NamespaceImpl::destroy_unless_referenced(Inode& inode) {
  if (inode.references == 0 || (inode.open && inode.open->given_up)) return destroy_inode(inode);
  unnamed_.insert(inode.number);
  if (!inode.open) return;
  if (inode.kind == FileKind::log) {
    cache_closed_log(inode);
  } else {
    inode.open.reset();
  }
}

// The inode is unreachable: its objects are deleted.
void NamespaceImpl::destroy_inode(Inode& inode) {
  std::vector<ObjectId> objects = inode.objects();
  const InodeNumber number = inode.number;
  // A log pins its mlogs.
  if (inode.open) drop_log(number, *inode.open);
  inode.open.reset();
  std::erase(closed_log_cache_, number);
  unnamed_.erase(number);
  tree_.erase(number);
  if (objects.empty()) return;
  journal_->add({.record = {}, .mblocks = {}, .mlog = {}, .deletes = std::move(objects)});
  const std::lock_guard lock(callback_mutex_);
  if (removed_) removed_(number);
}

void NamespaceImpl::ref(std::span<InodeNumber> inodes) {
  const TreeReadLock lock(tree_mutex_);
  for (InodeNumber& number : inodes) {
    if (Inode* const inode = tree_.find(number)) {
      inode->references.fetch_add(1, std::memory_order_relaxed);
    } else {
      number = 0;
    }
  }
}

// Called with the tree's lock; exclusively if an inode may have no name.
void NamespaceImpl::drop_references(std::span<const InodeReferences> references) {
  for (const auto& [number, count] : references) {
    Inode* const inode = tree_.find(number);
    if (inode == nullptr) continue;
    const std::uint64_t left =
        inode->references.fetch_sub(count, std::memory_order_relaxed) - count;
    const bool in_use = inode->links > 0 || (inode->open && inode->open->handles > 0);
    if (left == 0 && !in_use) destroy_inode(*inode);
  }
}

// Called with the tree's lock: closing a log writes, many objects take long.
bool NamespaceImpl::may_destroy_slowly(const InodeReferences& references) {
  const Inode* const inode = tree_.find(references.inode);
  if (inode == nullptr || inode->links > 0) return false;
  return inode->kind == FileKind::log ||
         (inode->extents && inode->extents->size() > kMaxExtentsAtOnce);
}

bool NamespaceImpl::unref(std::span<const InodeReferences> references, Blocking blocking) {
  if (blocking == Blocking::allowed) {
    const ChangeLock lock = lock_for_change();
    drop_references(references);
    return true;
  }
  const auto has_name = [this](const InodeReferences& dropped) {
    const Inode* const inode = tree_.find(dropped.inode);
    return inode == nullptr || inode->links > 0;
  };
  {
    const TreeReadLock lock(tree_mutex_);
    if (std::ranges::all_of(references, has_name)) {
      drop_references(references);
      return true;
    }
  }
  const Journal::ChangeBarrier barrier = journal_->try_enter_change();
  if (!barrier) return false;
  const TreeLock lock(tree_mutex_);
  const auto is_slow = [this](const InodeReferences& dropped) {
    return may_destroy_slowly(dropped);
  };
  if (std::ranges::any_of(references, is_slow)) return false;
  drop_references(references);
  return true;
}

void NamespaceImpl::destroy_unnamed() {
  const ChangeLock lock = lock_for_change();
  const std::vector<InodeNumber> numbers(unnamed_.begin(), unnamed_.end());
  for (const InodeNumber number : numbers) {
    Inode& inode = tree_.get(number);
    const bool open = inode.open && inode.open->handles > 0;
    if (inode.extents && !open) destroy_inode(inode);
  }
}

}  // namespace mpool::names

#include "engine/file/active_inodes.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "engine/tree/times.h"

namespace mpool::names {

namespace {

constexpr std::uint64_t kStatBlockSize = 512;

std::uint64_t packed_bytes(const Inode& inode) {
  std::uint64_t bytes = 0;
  if (!inode.is_in_pack()) return bytes;
  for (const Extent& extent : *inode.extents)
    bytes += is_packed(extent) ? extent.length : 0;
  return bytes;
}

FileNeed need_of_inode(const Inode& inode) {
  const ActiveInode* const open = inode.open.get();
  return mpool::need_of(inode.links, open != nullptr ? open->holders.total() : 0, inode.references,
                        open == nullptr || open->writing() != Writing::dropped);
}

}  // namespace

State ActiveInodes::pin(Inode& inode, FileHolder holder) {
  if (!inode.open) inode.open = std::make_shared<ActiveInode>();
  inode.open->holders.add(holder);
  return inode.open;
}

void ActiveInodes::unpin(InodeNumber number, FileHolder holder) {
  Inode& inode = tree_.get(number);
  inode.open->holders.drop(holder);
  release_unneeded(inode);
}

void ActiveInodes::release_unneeded(Inode& inode) {
  if (inode.open && inode.open->holders.total() > 0) return;
  const FileNeed need = need_of_inode(inode);
  if (need == FileNeed::nothing) return destroy_inode(inode);
  if (need == FileNeed::references) unnamed_.insert(inode.number);
  if (!inode.open) return;
  if (inode.kind == FileKind::log) {
    logs_.cache_closed(inode);
  } else {
    inode.open.reset();
  }
}

// The inode is unreachable: its objects are deleted.
void ActiveInodes::destroy_inode(Inode& inode) {
  std::vector<ObjectId> objects = inode.objects();
  const InodeNumber number = inode.number;
  // A log pins its mlogs.
  if (inode.open) logs_.forget(number, *inode.open);
  inode.open.reset();
  unnamed_.erase(number);
  tree_.erase(number);
  if (objects.empty()) return;
  tree_.journal().add({.deletes = std::move(objects)});
  events_.removed(number);
}

Attributes ActiveInodes::describe(const Inode& inode) const {
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
        tree_.pool().has_class(inode.media_class) ? tree_.pool().zone_size(inode.media_class) : 0;
    result.blocks =
        inode.object_count * zone / kStatBlockSize + ceil_div(packed_bytes(inode), kStatBlockSize);
  } else if (is_being_written(inode)) {
    result.blocks = ceil_div(result.size, kStatBlockSize);
  }
  return result;
}

void ActiveInodes::withdraw_placeholder(ActiveInode& state) {
  if (const auto placeholder = state.placeholder.exchange(nullptr))
    tree_.journal().close_placeholder(*placeholder);
}

void ActiveInodes::ref(std::span<InodeNumber> inodes) {
  const TreeReadLock lock(tree_.mutex());
  for (InodeNumber& number : inodes) {
    if (Inode* const inode = tree_.find(number)) {
      inode->references.fetch_add(1, std::memory_order_relaxed);
    } else {
      number = 0;
    }
  }
}

// Called with the tree's lock; exclusively if an inode may have no name.
void ActiveInodes::drop_references(std::span<const InodeReferences> references) {
  for (const auto& [number, count] : references) {
    Inode* const inode = tree_.find(number);
    if (inode == nullptr) continue;
    const std::uint64_t left =
        inode->references.fetch_sub(count, std::memory_order_relaxed) - count;
    if (left == 0 && need_of_inode(*inode) == FileNeed::nothing) destroy_inode(*inode);
  }
}

// Called with the tree's lock: closing a log writes, many objects take long.
bool ActiveInodes::may_destroy_slowly(const InodeReferences& references) {
  const Inode* const inode = tree_.find(references.inode);
  if (inode == nullptr || inode->links > 0) return false;
  return inode->kind == FileKind::log ||
         (inode->extents && inode->extents->size() > kMaxExtentsAtOnce);
}

bool ActiveInodes::unref(std::span<const InodeReferences> references, Blocking blocking) {
  if (blocking == Blocking::allowed) {
    const ChangeLock lock = tree_.lock_for_change();
    drop_references(references);
    return true;
  }
  const auto has_name = [this](const InodeReferences& dropped) {
    const Inode* const inode = tree_.find(dropped.inode);
    return inode == nullptr || inode->links > 0;
  };
  {
    const TreeReadLock lock(tree_.mutex());
    if (std::ranges::all_of(references, has_name)) {
      drop_references(references);
      return true;
    }
  }
  const Journal::ChangeBarrier barrier = tree_.journal().try_enter_change();
  if (!barrier) return false;
  const TreeLock lock(tree_.mutex());
  const auto is_slow = [this](const InodeReferences& dropped) {
    return may_destroy_slowly(dropped);
  };
  if (std::ranges::any_of(references, is_slow)) return false;
  drop_references(references);
  return true;
}

void ActiveInodes::destroy_unnamed() {
  const ChangeLock lock = tree_.lock_for_change();
  const std::vector<InodeNumber> numbers(unnamed_.begin(), unnamed_.end());
  for (const InodeNumber number : numbers) {
    Inode& inode = tree_.get(number);
    if (inode.extents && need_of_inode(inode) == FileNeed::references) destroy_inode(inode);
  }
}

Journal::Ticket ActiveInodes::change(const Record& record) {
  const InodeNumber unnamed = tree_.apply(record);
  const Journal::Ticket ticket = tree_.record_only(record);
  if (unnamed != 0) release_unneeded(tree_.get(unnamed));
  return ticket;
}

Journal::Ticket ActiveInodes::change_if_on_media(const Inode& inode, const Record& record) {
  if (inode.open) withdraw_placeholder(*inode.open);
  if (inode.on_media()) return change(record);
  tree_.apply(record);
  return 0;
}

Journal::Ticket ActiveInodes::release_displaced(Inode& inode, DisplacedRecord record) {
  const InodeNumber displaced = std::exchange(inode.displaces, 0);
  if (displaced == 0) return 0;
  Journal::Ticket ticket = 0;
  if (record == DisplacedRecord::needed) {
    ticket = tree_.record_only({tree_.now(), UnlinkRecord{inode.open->parent, inode.open->name}});
  }
  --tree_.get(displaced).displaced_by;
  unpin(displaced, FileHolder::displaced_name);
  return ticket;
}

void ActiveInodes::close(InodeNumber number, FileHolder holder) noexcept {
  try {
    unpin(number, holder);
  } catch (const std::exception& error) {
    tree_.pool().log().error("pool {}: closing inode {}: {}", tree_.pool().name(), number,
                             error.what());
  }
}

std::string ActiveInodes::describe_references() const {
  std::uint64_t named = 0;
  std::uint64_t referenced = 0;
  std::array<std::uint64_t, kFileHolderCount> holders{};
  std::string unnamed;
  {
    const TreeReadLock lock(tree_.mutex());
    for (const auto& [number, inode] : tree_.inodes()) {
      named += inode.links > 0 ? 1 : 0;
      referenced += inode.references > 0 ? 1 : 0;
      for (std::size_t i = 0; inode.open && i < holders.size(); ++i)
        holders[i] += inode.open->holders.count(static_cast<FileHolder>(i)) > 0 ? 1 : 0;
      if (inode.links > 0) continue;
      fmt::format_to(std::back_inserter(unnamed),
                     "inode {}: {} holders, {} references of the kernel, {} objects\n", number,
                     inode.open ? inode.open->holders.total() : 0, inode.references.load(),
                     inode.object_count);
    }
  }
  std::string text =
      fmt::format("{:<15} {} inodes\n{:<15} {} inodes\n", "name", named, "kernel", referenced);
  for (std::size_t i = 0; i < holders.size(); ++i) {
    fmt::format_to(std::back_inserter(text), "{:<15} {} inodes\n",
                   to_string(static_cast<FileHolder>(i)), holders[i]);
  }
  const References::Counts counts = tree_.references().counts();
  for (std::size_t i = 0; i < counts.held.size(); ++i) {
    fmt::format_to(std::back_inserter(text), "{:<15} {} objects\n",
                   to_string(static_cast<ObjectHolder>(i)), counts.held[i]);
  }
  return text +
         fmt::format("{:<15} {} objects\n{:<15} {}\n", "to be deleted", counts.waiting, "deletes",
                     counts.deletes == References::Deletes::held ? "held" : "at once") +
         unnamed;
}

}  // namespace mpool::names

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/names/namespace_impl.h"

namespace mpool {

std::unique_ptr<Namespace> Namespace::mount(Pool& pool, const NamespaceOptions& options) {
  return std::make_unique<names::NamespaceImpl>(pool, options);
}

}  // namespace mpool

namespace mpool::names {

NamespaceImpl::NamespaceImpl(Pool& pool, const NamespaceOptions& options)
    : pool_(pool),
      references_(pool,
                  options.hold_deletes ? References::Deletes::held : References::Deletes::at_once),
      tree_(references_, options),
      allocator_(tree_, events_,
                 [this] {
                   inodes_.destroy_unnamed();
                   packs_.retire_unused();
                 }),
      packs_(tree_, allocator_),
      logs_(tree_, allocator_),
      inodes_(tree_, logs_, events_),
      committer_(tree_, logs_, inodes_, packs_, events_),
      files_(tree_, logs_, inodes_, committer_, allocator_, packs_),
      repacker_(tree_, packs_) {
  tree_.load({.committed =
                  [this](const std::vector<ObjectRecord>& objects) {
                    committer_.note_objects_committed(objects);
                  },
              .write_logs = [this] { logs_.write(); },
              .make_logs_durable =
                  [this](std::span<Device* const> flushed) { logs_.make_durable(flushed); },
              .catch_up = [this] { events_.catch_up(); },
              .log_size_left_out = [this](InodeNumber inode) { logs_.forget_size(inode); },
              .written = [this](Journal::Ticket last) { committer_.notify_durable(last); }});
  if (tree_.is_writable()) repacker_.start();
}

NamespaceImpl::~NamespaceImpl() {
  if (!tree_.is_writable()) return;
  repacker_.stop();
  bool synced = false;
  try {
    inodes_.destroy_unnamed();
    packs_.retire_unused();
    logs_.record_open_sizes();
    sync();
    synced = true;
  } catch (const std::exception& error) {
    pool_.log().error("pool {}: ending the mount: {}", pool_.name(), error.what());
  }
  tree_.end_journal();
  // If the journal failed, logs may still be written.
  logs_.write_rest();
  if (!synced) return;
  logs_.mark_sizes();
  try {
    // Two records, the first with the padding: the second one proves that the log before it was
    // complete.
    tree_.record_mdc_ends(kPageSize);
    tree_.record_mdc_ends(0);
  } catch (const std::exception& error) {
    pool_.log().warn("pool {}: ending the mount: where the MDCs end could not be recorded: {}",
                     pool_.name(), error.what());
  }
}

void NamespaceImpl::sync() {
  if (!tree_.is_writable()) return;
  tree_.journal().sync();
  logs_.check();
  tree_.check_online();
}

std::unique_ptr<FileIoGroup> NamespaceImpl::make_io_group(std::size_t rings) {
  auto group = std::make_unique<FileIoGroup>(rings, pool_.write_memory(), pool_.tunables());
  group->on_reads_active(tree_.options().reads_active);
  return group;
}

PackStats NamespaceImpl::packs() const {
  const TreeReadLock lock(tree_.mutex());
  PackStats stats;
  for (const auto& [pack, usage] : tree_.packs().packs()) {
    const auto object = pool_.find(pack);
    if (!object || !pool_.has_class(object->media_class)) continue;
    ++stats.packs;
    stats.files += usage.extents;
    stats.capacity += pool_.capacity_of(*object);
    stats.live += usage.live;
  }
  return stats;
}

Losses NamespaceImpl::losses() const {
  return {.device_failed = pool_.offline(),
          .changes = tree_.is_writable() ? tree_.journal().lost_changes() : 0,
          .files = committer_.lost_files(),
          .logs = logs_.dirty()};
}

void NamespaceImpl::hold_deletes(bool hold) {
  using Deletes = References::Deletes;
  if (tree_.is_writable()) tree_.journal().set_deletes(hold ? Deletes::held : Deletes::at_once);
}

void NamespaceImpl::delete_unheld() {
  if (tree_.is_writable()) tree_.journal().delete_unheld();
}

std::vector<ObjectId> NamespaceImpl::mblocks_of(InodeNumber number) {
  committer_.wait_for_release(number);
  std::vector<ObjectId> mblocks;
  {
    const TreeReadLock lock(tree_.mutex());
    const Inode& inode = tree_.get(number);
    const std::string file = fmt::format("inode {}", number);
    if (is_being_written(inode)) raise(EAGAIN, file, "the file is not committed yet");
    if (inode.kind != FileKind::write_once) {
      raise(EINVAL, file, "it is no committed file with content");
    }
    if (inode.is_in_pack()) {
      raise(EINVAL, file, "it is a small file, with its content in a pack: it has no mblocks");
    }
    const auto objects = inode.objects();
    mblocks.assign(objects.begin(), objects.end());
  }
  // A file is committed for its readers before its objects are.
  const auto is_committed = [this](ObjectId id) {
    const auto object = pool_.find(id);
    return object && object->written_length == committer_.find_object(id)->written_length;
  };
  if (!std::ranges::all_of(mblocks, is_committed)) sync();
  return mblocks;
}

std::vector<InodeNumber> NamespaceImpl::committed_files() {
  const TreeReadLock lock(tree_.mutex());
  std::vector<InodeNumber> files;
  for (const auto& [number, inode] : tree_.inodes()) {
    if (is_committed(inode) && !inode.is_in_pack()) files.push_back(number);
  }
  return files;
}

Attributes NamespaceImpl::truncate(InodeNumber number, std::uint64_t size) {
  const auto file =
      open(number, {.read = false, .write = true, .append = false, .truncate = false});
  try {
    file->truncate(size);
    file->flush();
  } catch (...) {
    file->close();
    throw;
  }
  file->close();
  return attributes(number);
}

}  // namespace mpool::names

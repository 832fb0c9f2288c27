// Append-only files (engine/file/README.md, "Append-only files").
#include "engine/file/log_files.h"

#include <algorithm>
#include <cerrno>

#include "engine/base/error.h"

namespace mpool::names {
namespace {

// Logs that stay open without handles, so that a shell that appends line by line does not read the
// whole log each time.
constexpr std::size_t kMaxClosedLogs = 64;

}  // namespace

// Returns the log with the lock held shared, after opening it if necessary: it cannot be emptied
// while the lock is held.
LogFiles::LogReadLock LogFiles::need_log(InodeNumber number, ActiveInode& state) {
  for (;;) {
    LogReadLock lock(state.log_lock);
    if (state.log) return lock;
    lock.unlock();
    open_log(number, state);
  }
}

void LogFiles::open_log(InodeNumber number, ActiveInode& state) {
  const std::unique_lock lock(state.log_lock);
  if (state.log) return;
  Extents mlogs;  // null: none
  std::uint64_t least_size;
  {
    const TreeReadLock tree(tree_.mutex());
    const Inode& inode = tree_.get(number);
    mlogs = inode.extents;
    least_size = inode.size;
  }
  state.log = std::make_shared<Log>(
      tree_.references(), mlogs ? std::span(*mlogs) : std::span<const Extent>(), least_size,
      [this, number](std::uint64_t size) { return add_mlog(number, size); });
  if (!state.log->damage().empty()) report_damage(number, *state.log);
}

// Once per log: every listing of its directory opens it again.
void LogFiles::report_damage(InodeNumber number, const Log& log) {
  {
    const std::lock_guard lock(damage_mutex_);
    if (!reported_damage_.insert(number).second) return;
  }
  pool_.log().error(
      "pool {}: append-only file, inode {}, is damaged: {}; its first {} bytes can be read, "
      "nothing can be appended; copy what is readable and remove it, or put the block back (mpool "
      "check)",
      pool_.name(), number, log.damage(), log.readable_size());
}

// Adds an mlog to a log: recorded first, then committed, durable on return.
ObjectRecord LogFiles::add_mlog(InodeNumber number, std::uint64_t size) {
  MediaClass media_class;
  {
    const TreeReadLock lock(tree_.mutex());
    media_class = tree_.get(number).media_class;
  }
  const ObjectRecord mlog = allocator_.allocate_mlog(media_class);
  tree_.record_mlog(mlog, [&] {
    const Nanoseconds time = tree_.now();
    const Record content{
        time,
        ContentRecord{
            number, false, {FileKind::log, size, {{.file_offset = size, .object = mlog.id}}}}};
    // The name of an open log may be gone; then only the end of its mlogs must be recorded.
    const bool named = tree_.get(number).on_media();
    return RecordedTree::MlogRecords{
        .written = named ? content : Record{time, OrphanRecord{{mlog.id}}}, .applied = content};
  });
  return mlog;
}

std::size_t LogFiles::read(InodeNumber number, ActiveInode& state, std::uint64_t offset,
                           ByteSpan into) {
  const LogReadLock lock = need_log(number, state);
  try {
    return state.log->read(offset, into);
  } catch (const Error&) {
    if (!state.log->damage().empty()) report_damage(number, *state.log);
    throw;
  }
}

void LogFiles::append(InodeNumber number, const std::shared_ptr<ActiveInode>& state,
                      std::optional<std::uint64_t> offset, ConstByteSpan data) {
  const std::lock_guard order(state->append_mutex);
  const LogReadLock lock = need_log(number, *state);
  state->log->check_undamaged();
  if (offset && *offset != state->log->size()) {
    raise(EINVAL, fmt::format("inode {}", number), "a log is written at its end ({}), not at {}",
          state->log->size(), *offset);
  }
  state->log->append(data);
  state->log_written_at = tree_.now();
  dirty_logs_.add(number, state->log);
  tree_.journal().want_log_sync();
}

void LogFiles::sync(InodeNumber number, ActiveInode& state) {
  {
    const LogReadLock lock = need_log(number, state);
    state.log->sync();
  }
  tree_.journal().wait_all();
  tree_.check_online();
}

// The name keeps an empty log; the mlogs are deleted like those of a deleted file, so that a crash
// leaves either all of the content or none.
void LogFiles::erase(InodeNumber number, ActiveInode& state) {
  Journal::Ticket ticket = 0;
  {
    const std::lock_guard order(state.append_mutex);
    const std::unique_lock log_lock(state.log_lock);
    const ChangeLock lock = tree_.begin_change(kSmallRecord, RoomFor::release);
    drop_log(number, state);
    state.log_written_at = 0;
    const Inode& inode = tree_.get(number);
    {
      const std::lock_guard damage(damage_mutex_);
      reported_damage_.erase(number);
    }
    std::vector<ObjectId> deletes = inode.objects();
    const Record record{tree_.now(), ContentRecord{number, true, {FileKind::log, 0, {}}}};
    tree_.apply(record);
    ticket = tree_.record_deletes(inode, record, std::move(deletes));
  }
  if (tree_.options().sync) tree_.journal().wait(ticket);
}

void LogFiles::cache_closed(Inode& inode) {
  record_size(inode);
  std::erase(closed_log_cache_, inode.number);
  closed_log_cache_.push_back(inode.number);
  close_clean_logs();
}

void LogFiles::make_durable(std::span<Device* const> flushed) {
  if (!dirty_logs_.make_durable(flushed)) return;
  const TreeLock lock(tree_.mutex());
  close_clean_logs();
}

// Called with the tree's lock.
void LogFiles::close_clean_logs() {
  std::size_t left = closed_log_cache_.size();
  std::erase_if(closed_log_cache_, [&](InodeNumber number) {
    if (left <= kMaxClosedLogs) return false;
    Inode& idle = tree_.get(number);
    if (idle.open->holders.total() != 0 || dirty_logs_.contains(number)) return false;
    idle.size_exact = is_size_recorded(idle);
    drop_log(number, *idle.open);
    idle.open.reset();
    --left;
    return true;
  });
}

// The tree's size of a log is its present size, if nothing is appended.
bool LogFiles::is_size_recorded(const Inode& inode) const {
  if (!inode.extents) return true;
  if (!inode.open || !inode.open->log) return inode.size_exact;
  const Log& log = *inode.open->log;
  return log.damage().empty() && log.size() == inode.size;
}

// Called with the locks of a change, while no thread appends. No effect where the root MDC has no
// room: the size is then found when the log is opened.
void LogFiles::record_size(Inode& inode) {
  if (!tree_.is_writable() || !inode.on_media() || !inode.open->log || is_size_recorded(inode))
    return;
  const std::shared_ptr<Log>& log = inode.open->log;
  if (!log->damage().empty() || !tree_.journal().has_room(kSmallRecord, RoomFor::content)) return;
  dirty_logs_.add(inode.number, log);
  const Record record{tree_.now(),
                      ContentRecord{inode.number, false, {FileKind::log, log->size(), {}}}};
  tree_.apply(record);
  tree_.journal().add({.record = encode(record),
                       .log_size = std::make_unique<LogSize>(inode.number, log, log->appends())});
}

void LogFiles::forget_size(InodeNumber number) {
  const TreeLock lock(tree_.mutex());
  Inode* inode = tree_.find(number);
  if (inode == nullptr || inode->kind != FileKind::log) return;
  inode->size = 0;
  inode->size_exact = false;
}

void LogFiles::record_open_sizes() {
  const ChangeLock lock = tree_.lock_for_change();
  std::vector<InodeNumber> open;
  for (const auto& [number, inode] : tree_.inodes()) {
    if (inode.kind == FileKind::log && inode.open) open.push_back(number);
  }
  for (const InodeNumber number : open)
    record_size(tree_.get(number));
}

// The last record of a cleanly ended mount: the logs whose sizes are not exact.
void LogFiles::mark_sizes() {
  LogSizesRecord record;
  for (const auto& [number, inode] : tree_.inodes()) {
    if (inode.kind == FileKind::log && inode.on_media() && !is_size_recorded(inode)) {
      record.inexact.push_back(number);
    }
  }
  try {
    tree_.append_last({tree_.now(), std::move(record)});
  } catch (const Error& error) {
    pool_.log().info("pool {}: sizes of logs are found by reading at the next mount: {}",
                     pool_.name(), error.what());
  }
}

void LogFiles::drop_log(InodeNumber number, ActiveInode& state) {
  dirty_logs_.remove(number);
  state.log.reset();
}

void LogFiles::forget(InodeNumber number, ActiveInode& state) {
  drop_log(number, state);
  std::erase(closed_log_cache_, number);
}

std::uint64_t LogFiles::size(InodeNumber number, ActiveInode& state) {
  const LogReadLock lock = need_log(number, state);
  return state.log->known_size();
}

void LogFiles::record_times(InodeNumber number, ActiveInode& state) noexcept {
  const Nanoseconds written = state.log_written_at.exchange(0);
  if (written == 0) return;
  try {
    const ChangeLock lock = tree_.begin_change(kSmallRecord, RoomFor::release);
    Inode& inode = tree_.get(number);
    inode.attributes.mtime = written;
    inode.attributes.ctime = written;
    if (inode.on_media()) tree_.record_attributes(inode);
  } catch (const std::exception& error) {
    pool_.log().error("pool {}: closing inode {}: {}", pool_.name(), number, error.what());
  }
}

}  // namespace mpool::names

// From a closed descriptor to the commit of its file (engine/tree/README.md, "Order of changes").
#include <utility>

#include "engine/base/error.h"
#include "engine/file/file_committer.h"

namespace mpool::names {

// With several writing handles it was not the last close; with `sync` the content is durable.
void FileCommitter::add_placeholder(ActiveInode& state) {
  if (!tree_.is_writable() || tree_.options().sync) return;
  {
    const TreeReadLock lock(tree_.mutex());
    if (!state.writer || state.writers != 1) return;
  }
  if (const auto earlier = state.placeholder.exchange(tree_.journal().add_placeholder()))
    tree_.journal().close_placeholder(*earlier);
}

void FileCommitter::wait_for_release(InodeNumber number) {
  bool asks = false;
  {
    const TreeReadLock lock(tree_.mutex());
    const Inode* const inode = tree_.find(number);
    if (inode == nullptr || !is_being_written(*inode)) return;
    asks = inode->open->placeholder.is_set() && !is_committing(*inode);
  }
  if (asks) events_.catch_up();
  wait_for_commit(number);
}

void FileCommitter::wait_for_release(InodeNumber parent, std::string_view name) {
  InodeNumber number = 0;
  {
    const TreeReadLock lock(tree_.mutex());
    number = tree_.find_or_none(tree_.get_directory(parent), name);
  }
  if (number != 0) wait_for_release(number);
}

void FileCommitter::wait_for_commit(InodeNumber number) {
  State state;
  {
    const TreeReadLock lock(tree_.mutex());
    const Inode* const inode = tree_.find(number);
    if (inode == nullptr || !is_committing(*inode)) return;
    state = inode->open;
  }
  TreeLock lock(tree_.mutex());
  commits_.wait(lock, [&] { return !state->is_committing(); });
}

void FileCommitter::commit_closed(InodeNumber number, const State& state) noexcept {
  std::string failure;
  Journal::Ticket ticket = 0;
  try {
    ticket = persist(number, *state, true);
    if (tree_.options().sync && ticket != 0) tree_.journal().wait(ticket);
  } catch (const std::exception& error) {
    failure = error.what();
  }
  inodes_.withdraw_placeholder(*state);
  std::shared_ptr<ContentWriter> writer;  // destroyed without locks: it may release mblocks
  std::string name;
  InodeNumber parent;
  bool gone;
  bool in_pack;
  {
    const ChangeLock lock = tree_.lock_for_change();
    gone = !failure.empty() && roll_back_create(number, *state);
    name = state->name;
    parent = state->parent;
    in_pack = tree_.get(number).is_in_pack();
    writer = state->set_writer(nullptr);
    const bool dropped =
        state->writing() == Writing::dropping || (!failure.empty() && tree_.get(number).links == 0);
    state->enter(dropped ? Writing::dropped : Writing::none);
    commits_.notify_all();
    // Together with the change above: a thread that waited for the commit must not find a file
    // without a name.
    inodes_.close(number, FileHolder::open_file);
  }
  if (!failure.empty()) {
    if (pool_.offline()) ++lost_files_;
    pool_.log().error("pool {}: file '{}' (inode {}) could not be committed{}: {}", pool_.name(),
                      name, number,
                      gone ? " and is gone" : ", it keeps what was made durable before", failure);
  }
  if (gone) events_.create_failed(parent, name, number);
  events_.committed(number);
  if (failure.empty() && !in_pack) note_committed(number, ticket);
}

// The commit failed: a new file is removed (and the file it was about to replace is back); a file
// that was recorded before keeps its earlier content. Returns whether it was removed.
bool FileCommitter::roll_back_create(InodeNumber number, const ActiveInode& state) {
  Inode& inode = tree_.get(number);
  if (inode.recorded || inode.links == 0) return false;
  Inode& parent = tree_.get_directory(state.parent);
  inode.links = 0;
  if (const InodeNumber displaced = std::exchange(inode.displaces, 0); displaced != 0) {
    Inode& back = tree_.get(displaced);
    parent.directory->replace(state.name, displaced);
    ++back.links;
    --back.displaced_by;
    inodes_.unpin(displaced, FileHolder::displaced_name);
  } else {
    tree_.drop_entry(parent, state.name);
  }
  return true;
}

bool FileCommitter::try_close_reader(InodeNumber number, const State& state,
                                     FileHolder holder) noexcept {
  const TreeLock lock(tree_.mutex());
  const Inode& inode = tree_.get(number);
  const bool last = state->holders.total() == 1;
  const bool goes = need_of(inode.links, 0, inode.references,
                            state->writing() != Writing::dropped) == FileNeed::nothing;
  if (last && (goes || inode.kind == FileKind::log)) return false;
  inodes_.unpin(number, holder);
  return true;
}

bool FileCommitter::try_close_writer(InodeNumber number, const State& state) noexcept {
  std::optional<Journal::Ticket> ticket = 0;
  try {
    if (!try_commit(number, state, ticket)) return false;
  } catch (const std::exception&) {
    return false;  // end_close() meets the error again, or the sticky error
  }
  events_.committed(number);
  if (ticket) note_committed(number, *ticket);
  return true;
}

// Commits a new file with its last writing handle, and drops that handle. Returns false if it would
// block, or the file cannot be recorded. Content sealed by then is lost. `ticket`: nullopt for a
// file in a pack.
bool FileCommitter::try_commit(InodeNumber number, const State& state,
                               std::optional<Journal::Ticket>& ticket) {
  const std::unique_lock one(state->persist_mutex, std::try_to_lock);
  if (!one || state->sticky_error) return false;
  const std::unique_lock content(state->content_lock, std::try_to_lock);
  if (!content) return false;
  std::shared_ptr<ContentWriter> writer;  // destroyed without locks
  std::optional<ChangeLock> lock = tree_.begin_change(
      kSmallRecord + sizeof(Extent), RoomFor::content, Blocking::forbidden, kSmallRecord);
  if (!lock) return false;
  Inode& inode = tree_.get(number);
  const bool simple = !inode.recorded && inode.links > 0 && inode.displaces == 0 && !inode.xattrs;
  if (!simple || !state->writer || state->writers != 1) return false;
  std::optional<ContentWriter::Sealed> sealed = state->writer->try_seal();
  if (!sealed) return false;
  state->enter(Writing::committing);
  try {
    ticket = record_sealed_locked(inode, *state, std::move(*sealed));
  } catch (...) {
    state->enter(Writing::open);
    state->sticky_error = std::current_exception();
    state->writer->forget_sealed();
    throw;
  }
  --state->writers;
  writer = state->set_writer(nullptr);
  state->enter(Writing::none);
  commits_.notify_all();
  if (inode.is_in_pack()) ticket = std::nullopt;
  inodes_.unpin(number, FileHolder::open_file);
  return true;
}

FileCommitter::Closing FileCommitter::begin_close(ActiveInode& state, bool writer) noexcept {
  if (!writer) return Closing::handle;
  const TreeLock lock(tree_.mutex());
  if (--state.writers > 0) return Closing::handle;
  if (!state.writer) return Closing::log;
  state.enter(Writing::committing);
  if (const Journal::SharedPlaceholder placeholder = state.placeholder.get())
    tree_.journal().expect(*placeholder);
  return Closing::file;
}

void FileCommitter::end_close(InodeNumber number, const State& state, Closing closing,
                              FileHolder holder) noexcept {
  if (closing == Closing::file) return commit_closed(number, state);
  if (closing == Closing::log) logs_.record_times(number, *state);
  const ChangeLock lock = tree_.lock_for_change();
  inodes_.close(number, holder);
}

std::optional<ObjectRecord> FileCommitter::find_object(ObjectId id) {
  {
    const std::lock_guard lock(pending_mutex_);
    const auto it = pending_objects_.find(id);
    if (it != pending_objects_.end()) return it->second.record;
  }
  return pool_.find(id);
}

std::vector<std::shared_ptr<DeferredWrite>> FileCommitter::deferred_writes_of(const Inode& inode) {
  std::vector<std::shared_ptr<DeferredWrite>> deferred;
  if (!inode.extents) return deferred;
  const std::lock_guard pending(pending_mutex_);
  if (pending_objects_.empty()) return deferred;
  for (const Extent& extent : *inode.extents) {
    const auto found = pending_objects_.find(extent.object);
    if (found == pending_objects_.end() || !found->second.deferred) continue;
    if (!found->second.deferred->done()) deferred.push_back(found->second.deferred);
  }
  return deferred;
}

bool FileCommitter::is_on_device(const Inode& inode) {
  return is_committed(inode) && deferred_writes_of(inode).empty();
}

}  // namespace mpool::names

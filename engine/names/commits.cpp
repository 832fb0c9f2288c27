// From written to committed: what write-once files bring into the journal (engine/names/README.md,
// "Commit").
#include <algorithm>
#include <cerrno>

#include <spdlog/spdlog.h>

#include "engine/base/error.h"
#include "engine/names/namespace.h"
#include "engine/names/times.h"

namespace mpool::names {
// Records an inode that is not on the media yet, with its present content in the tree.
Journal::Ticket NamespaceImpl::record_pending(Inode& inode, Change change) {
  CreateRecord record{.inode = inode.number,
                      .parent = inode.open->parent,
                      .name = inode.open->name,
                      .attributes = inode.attributes,
                      .media_class = inode.media_class,
                      .choice = inode.choice,
                      .target = {},
                      .content = {.kind = inode.kind, .size = inode.size, .extents = {}}};
  if (inode.extents) record.content.extents = *inode.extents;
  // The parent changed when the file was created, and perhaps since.
  const Inode& parent = tree_.get(record.parent);
  change.record = encode({parent.attributes.mtime, record});
  Journal::Ticket ticket = journal_->add(std::move(change));
  inode.recorded = true;
  if (parent.attributes.ctime != parent.attributes.mtime) ticket = record_attributes(parent);
  if (inode.xattrs) {
    for (const auto& [key, value] : *inode.xattrs) {
      ticket = record_only({inode.attributes.ctime, XattrRecord{inode.number, key, true, value}});
    }
  }
  release_displaced(inode, true);
  return ticket;
}

// Content of a file that lost its name while it was written. Its open handles use it; it is removed
// with the last of them, or by a crash.
Journal::Ticket NamespaceImpl::record_nameless(Change change) {
  if (change.mblocks.empty()) return 0;
  OrphanRecord orphans;
  for (const auto& mblock : change.mblocks)
    orphans.objects.push_back(mblock->id());
  change.record = encode({now(), std::move(orphans)});
  return journal_->add(std::move(change));
}

Journal::Ticket NamespaceImpl::persist(InodeNumber number, ActiveInode& state, bool last) {
  const std::lock_guard one(state.persist_mutex);
  if (state.sticky_error) std::rethrow_exception(state.sticky_error);
  const auto writer = state.current_writer();
  if (!writer) return 0;  // it was committed meanwhile
  const std::lock_guard content(state.content_lock);
  ContentWriter::Sealed sealed = last ? writer->seal_deferring() : writer->seal(false);
  try {
    return record_sealed(number, state, std::move(sealed));
  } catch (...) {
    state.sticky_error = std::current_exception();
    writer->forget_places();
    throw;
  }
}

// Bytes of the records of an inode that is not on the media yet, without its content.
std::size_t NamespaceImpl::pending_size(InodeNumber number) {
  constexpr std::size_t kXattrOverhead = 128;  // of the record and of the log
  std::size_t size = kSmallRecord;
  const Inode& inode = tree_.get(number);
  if (inode.recorded || !inode.xattrs) return size;
  for (const auto& [name, value] : *inode.xattrs)
    size += kXattrOverhead + name.size() + value.size();
  return size;
}

NamespaceImpl::ChangeLock NamespaceImpl::begin_recording(InodeNumber number, std::size_t extents) {
  const std::size_t content = extents * sizeof(Extent);
  for (;;) {
    std::size_t pending;
    {
      const TreeReadLock lock(tree_mutex_);
      pending = pending_size(number);
    }
    ChangeLock lock = begin_change(content + pending, RoomFor::content, pending);
    if (pending_size(number) <= pending) return lock;
  }
}

Journal::Ticket NamespaceImpl::record_sealed(InodeNumber number, ActiveInode& state,
                                             ContentWriter::Sealed sealed) {
  const ChangeLock lock = begin_recording(number, sealed.extents.size());
  return record_sealed_locked(tree_.get(number), state, std::move(sealed));
}

Journal::Ticket NamespaceImpl::record_sealed_locked(Inode& inode, ActiveInode& state,
                                                    ContentWriter::Sealed sealed) {
  // A declared length without data is no content: the next open for writing decides the kind.
  const bool has_content = !sealed.extents.empty() || inode.extents;
  const FileKind kind = has_content ? FileKind::write_once : FileKind::empty;
  ContentRecord record{inode.number, false, {kind, sealed.length, std::move(sealed.extents)}};
  const Content& content = record.content;
  const bool nameless = inode.links == 0 && inode.displaced_by == 0;
  // No reader can exist: the mblocks are released.
  if (nameless && state.committing && state.handles == 1) {
    state.given_up = true;
    return 0;
  }
  const bool changes = !content.extents.empty() || inode.size != content.size;
  // The time of the last write: stat(2) gives it already, and does not change by the commit.
  const Nanoseconds written = state.content_written_at;
  const Nanoseconds time = written != 0 ? written : now();
  const bool keeps_times = state.times_set || inode.attributes.ctime > time;
  if (changes) {
    const Nanoseconds mtime = inode.attributes.mtime;
    const Nanoseconds ctime = inode.attributes.ctime;
    tree_.apply({time, record});
    if (state.times_set) inode.attributes.mtime = mtime;
    inode.attributes.ctime = std::max(ctime, time);
  }
  {
    const std::lock_guard pending(pending_mutex_);
    for (const auto& mblock : sealed.mblocks)
      pending_objects_[mblock->id()] = {mblock->finish(), mblock->deferred()};
  }
  Change change{.record = {}, .mblocks = std::move(sealed.mblocks), .mlog = {}, .deletes = {}};
  if (nameless) return record_nameless(std::move(change));
  if (!inode.recorded) return record_pending(inode, std::move(change));
  if (!changes) return 0;
  change.record = encode({time, record});
  const Journal::Ticket ticket = journal_->add(std::move(change));
  return keeps_times ? record_attributes(inode) : ticket;
}

void NamespaceImpl::fsync_content(InodeNumber number, ActiveInode& state) {
  const Journal::Ticket ticket = persist(number, state, false);
  if (ticket != 0) {
    journal_->wait(ticket);
  } else {
    journal_->wait_all();
  }
  check_online();
}

void NamespaceImpl::sync_others(InodeNumber number, ActiveInode& state) {
  if (!journal_) return;
  if (kind_of(number) == FileKind::log) {
    sync_log(number, state);
  } else {
    fsync_content(number, state);
  }
}

// A second name, or an exchange, requires inodes that are on the media: one that is being written
// is recorded with the content written so far, as by fsync.
void NamespaceImpl::record_early(InodeNumber number) {
  State state;
  {
    const TreeLock lock(tree_mutex_);
    Inode& inode = tree_.get(number);
    if (inode.recorded) return;
    state = pin_inode(inode);
  }
  const auto release = [&] {
    const ChangeLock lock = lock_for_change();
    unpin_inode_or_log(number);
  };
  try {
    persist(number, *state, false);
  } catch (...) {
    release();
    throw;
  }
  release();
}

bool NamespaceImpl::check_lost_now(ActiveInode& state) {
  const std::unique_lock one(state.persist_mutex, std::try_to_lock);
  if (one && state.sticky_error) std::rethrow_exception(state.sticky_error);
  return one.owns_lock();
}

void NamespaceImpl::check_sticky_error(ActiveInode& state) {
  const std::lock_guard one(state.persist_mutex);
  if (state.sticky_error) std::rethrow_exception(state.sticky_error);
}

// Content that an fsync brought into the tree is removed like a deleted file.
void NamespaceImpl::discard_content(InodeNumber number, ActiveInode& state) {
  const std::lock_guard one(state.persist_mutex);
  const std::lock_guard content(state.content_lock);
  state.current_writer()->discard();
  std::shared_ptr<ContentWriter> replaced;  // destroyed without locks: it may release mblocks
  const ChangeLock lock = begin_change(kSmallRecord, RoomFor::release);
  state.sticky_error = nullptr;
  Inode& inode = tree_.get(number);
  if (inode.kind == FileKind::empty && inode.size == 0) return;
  const Record record{now(), ContentRecord{number, true, {FileKind::empty, 0, {}}}};
  std::vector<ObjectId> deletes = inode.objects();
  tree_.apply(record);
  replaced = state.set_writer(make_writer(inode.media_class));
  journal_->add({.record = inode.on_media() ? encode(record) : std::vector<std::byte>(),
                 .mblocks = {},
                 .mlog = {},
                 .deletes = std::move(deletes)});
}

void NamespaceImpl::truncate_content(InodeNumber number, ActiveInode& state, std::uint64_t size) {
  if (size == 0) return discard_content(number, state);
  const std::lock_guard one(state.persist_mutex);
  if (state.sticky_error) std::rethrow_exception(state.sticky_error);
  const std::lock_guard content(state.content_lock);
  const auto writer = state.current_writer();
  const bool shrinks = size < writer->length();
  writer->truncate(size);
  if (!shrinks) return;
  try {
    trim_recorded(number, size);
  } catch (...) {
    state.sticky_error = std::current_exception();
    writer->forget_places();
    throw;
  }
}

// Removes content behind this length that an fsync brought into the tree.
void NamespaceImpl::trim_recorded(InodeNumber number, std::uint64_t size) {
  const ChangeLock lock = begin_change(kSmallRecord, RoomFor::release);
  Inode& inode = tree_.get(number);
  if (!inode.extents || inode.size <= size) return;
  const bool keeps_some = inode.extents->front().file_offset < size;
  const FileKind kind = keeps_some ? FileKind::write_once : FileKind::empty;
  const Record record{now(), ContentRecord{number, !keeps_some, {kind, size, {}}}};
  const std::vector<ObjectId> before = inode.objects();
  tree_.apply(record);
  journal_->add({.record = inode.on_media() ? encode(record) : std::vector<std::byte>(),
                 .mblocks = {},
                 .mlog = {},
                 .deletes = missing_objects(before, inode)});
}

// The last writing handle was closed.
void NamespaceImpl::commit_closed(InodeNumber number, const State& state) noexcept {
  std::string failure;
  Journal::Ticket ticket = 0;
  try {
    ticket = persist(number, *state, true);
    if (options_.sync && ticket != 0) journal_->wait(ticket);
  } catch (const std::exception& error) {
    failure = error.what();
  }
  std::shared_ptr<ContentWriter> writer;  // destroyed without locks: it may release mblocks
  std::string name;
  InodeNumber parent;
  bool gone;
  {
    const ChangeLock lock = lock_for_change();
    gone = !failure.empty() && roll_back_create(number, *state);
    if (!failure.empty()) state->given_up = tree_.get(number).links == 0;
    name = state->name;
    parent = state->parent;
    writer = state->set_writer(nullptr);
    state->committing = false;
    commits_.notify_all();
    // Together with the change above: a thread that waited for the commit must not find a file
    // without a name.
    unpin_inode_or_log(number);
  }
  if (!failure.empty()) {
    if (pool_.offline()) ++lost_files_;
    pool_.log().error("pool {}: file '{}' (inode {}) could not be committed{}: {}", pool_.name(),
                      name, number,
                      gone ? " and is gone" : ", it keeps what was made durable before", failure);
  }
  CreateFailed create_failed;
  {
    const std::lock_guard lock(callback_mutex_);
    create_failed = create_failed_;
  }
  if (gone && create_failed) create_failed(parent, name, number);
  notify_committed(number);
  if (failure.empty()) note_committed(number, ticket);
}

void NamespaceImpl::notify_committed(InodeNumber number) {
  Committed committed;
  {
    const std::lock_guard lock(callback_mutex_);
    committed = committed_;
  }
  if (committed) committed(number);
}

void NamespaceImpl::note_committed(InodeNumber number, Journal::Ticket ticket) {
  {
    const std::lock_guard lock(callback_mutex_);
    not_durable_.emplace_back(ticket, number);
  }
  // It may have become durable before it was recorded in not_durable_.
  if (const Journal::Ticket written = journal_->written(); written >= ticket)
    notify_durable(written);
}

void NamespaceImpl::notify_durable(Journal::Ticket last) {
  std::vector<InodeNumber> durable;
  Durable callback;
  {
    const std::lock_guard lock(callback_mutex_);
    std::erase_if(not_durable_, [&](const auto& noted) {
      if (noted.first > last) return false;
      durable.push_back(noted.second);
      return true;
    });
    callback = durable_;
  }
  if (callback && !durable.empty()) callback(durable);
}

// The commit failed: a new file is removed (and the file it was about to replace is back); a file
// that was recorded before keeps its earlier content. Returns whether it was removed.
bool NamespaceImpl::roll_back_create(InodeNumber number, const ActiveInode& state) {
  Inode& inode = tree_.get(number);
  if (inode.recorded || inode.links == 0) return false;
  Inode& parent = tree_.get_directory(state.parent);
  inode.links = 0;
  if (const InodeNumber displaced = std::exchange(inode.displaces, 0); displaced != 0) {
    Inode& back = tree_.get(displaced);
    parent.directory->replace(state.name, displaced);
    ++back.links;
    --back.displaced_by;
    unpin_inode(displaced);
  } else {
    tree_.drop_entry(parent, state.name);
  }
  return true;
}

bool NamespaceImpl::close_reader_now(InodeNumber number, const State& state) noexcept {
  const TreeLock lock(tree_mutex_);
  const Inode& inode = tree_.get(number);
  const bool goes = inode.links == 0 && inode.references == 0;
  if (state->handles == 1 && (goes || inode.kind == FileKind::log)) return false;
  unpin_inode(number);
  return true;
}

bool NamespaceImpl::close_writer_now(InodeNumber number, const State& state) noexcept {
  Journal::Ticket ticket = 0;
  try {
    if (!commit_now(number, state, ticket)) return false;
  } catch (const std::exception&) {
    return false;  // close_handle() meets the error again, or the sticky error
  }
  notify_committed(number);
  note_committed(number, ticket);
  return true;
}

// Commits a new file with its last writing handle, and drops that handle. Returns false if it would
// block, or the file cannot be recorded. Content sealed by then is lost.
bool NamespaceImpl::commit_now(InodeNumber number, const State& state, Journal::Ticket& ticket) {
  const std::unique_lock one(state->persist_mutex, std::try_to_lock);
  if (!one || state->sticky_error) return false;
  const std::unique_lock content(state->content_lock, std::try_to_lock);
  if (!content) return false;
  std::shared_ptr<ContentWriter> writer;  // destroyed without locks
  std::optional<ChangeLock> lock =
      begin_change_now(kSmallRecord + sizeof(Extent), RoomFor::content, kSmallRecord);
  if (!lock) return false;
  Inode& inode = tree_.get(number);
  const bool simple = !inode.recorded && inode.links > 0 && inode.displaces == 0 && !inode.xattrs;
  if (!simple || !state->writer || state->writers != 1) return false;
  std::optional<ContentWriter::Sealed> sealed = state->writer->seal_now();
  if (!sealed) return false;
  try {
    ticket = record_sealed_locked(inode, *state, std::move(*sealed));
  } catch (...) {
    state->sticky_error = std::current_exception();
    state->writer->forget_places();
    throw;
  }
  --state->writers;
  writer = state->set_writer(nullptr);
  commits_.notify_all();
  unpin_inode(number);
  return true;
}

void NamespaceImpl::close_handle(InodeNumber number, const State& state, bool writer) noexcept {
  bool commit = false;
  bool log_closed = false;
  if (writer) {
    const TreeLock lock(tree_mutex_);
    const bool last = --state->writers == 0;
    commit = last && state->writer;
    log_closed = last && !state->writer;
    state->committing = commit;
  }
  if (commit) return commit_closed(number, state);
  if (log_closed) attempt_close(number, [&] { record_log_times(number, *state); });
  const ChangeLock lock = lock_for_change();
  unpin_inode_or_log(number);
}

// unpin_inode() where a failure cannot be reported.
void NamespaceImpl::unpin_inode_or_log(InodeNumber number) noexcept {
  attempt_close(number, [&] { unpin_inode(number); });
}

template <typename Step>
void NamespaceImpl::attempt_close(InodeNumber number, const Step& step) noexcept {
  try {
    step();
  } catch (const std::exception& error) {
    pool_.log().error("pool {}: closing inode {}: {}", pool_.name(), number, error.what());
  }
}

}  // namespace mpool::names

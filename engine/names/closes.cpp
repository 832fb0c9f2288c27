// From a closed descriptor to the commit of its file (engine/names/README.md, "Order of changes").
#include <cerrno>
#include <utility>

#include <spdlog/spdlog.h>

#include "engine/base/error.h"
#include "engine/names/namespace.h"

namespace mpool::names {

void NamespaceImpl::on_catch_up(std::function<void()> callback) {
  const std::lock_guard lock(catch_up_mutex_);
  catch_up_ = std::move(callback);
}

void NamespaceImpl::catch_up() {
  const std::lock_guard lock(catch_up_mutex_);
  if (catch_up_) catch_up_();
}

// With several writing handles it was not the last close; with `sync` the content is durable.
void NamespaceImpl::add_placeholder(ActiveInode& state) {
  if (!journal_ || options_.sync) return;
  {
    const TreeReadLock lock(tree_mutex_);
    if (!state.writer || state.writers != 1) return;
  }
  if (const auto earlier = state.placeholder.exchange(journal_->add_placeholder()))
    journal_->close_placeholder(*earlier);
}

void NamespaceImpl::withdraw_placeholder(ActiveInode& state) {
  if (const auto placeholder = state.placeholder.exchange(nullptr))
    journal_->close_placeholder(*placeholder);
}

void NamespaceImpl::wait_for_release(InodeNumber number) {
  bool asks = false;
  {
    const TreeReadLock lock(tree_mutex_);
    const Inode* const inode = tree_.find(number);
    if (inode == nullptr || !is_being_written(*inode)) return;
    asks = inode->open->placeholder.is_set() && !is_committing(*inode);
  }
  if (asks) catch_up();
  wait_for_commit(number);
}

void NamespaceImpl::wait_for_release(InodeNumber parent, std::string_view name) {
  InodeNumber number = 0;
  {
    const TreeReadLock lock(tree_mutex_);
    number = find_or_none(tree_.get_directory(parent), name);
  }
  if (number != 0) wait_for_release(number);
}

void NamespaceImpl::wait_for_commit(InodeNumber number) {
  State state;
  {
    const TreeReadLock lock(tree_mutex_);
    const Inode* const inode = tree_.find(number);
    if (inode == nullptr || !is_committing(*inode)) return;
    state = inode->open;
  }
  TreeLock lock(tree_mutex_);
  commits_.wait(lock, [&] { return !state->committing; });
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
  withdraw_placeholder(*state);
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

bool NamespaceImpl::try_close_reader(InodeNumber number, const State& state) noexcept {
  const TreeLock lock(tree_mutex_);
  const Inode& inode = tree_.get(number);
  const bool goes = inode.links == 0 && inode.references == 0;
  if (state->handles == 1 && (goes || inode.kind == FileKind::log)) return false;
  unpin_inode(number);
  return true;
}

bool NamespaceImpl::try_close_writer(InodeNumber number, const State& state) noexcept {
  Journal::Ticket ticket = 0;
  try {
    if (!try_commit(number, state, ticket)) return false;
  } catch (const std::exception&) {
    return false;  // end_close() meets the error again, or the sticky error
  }
  notify_committed(number);
  note_committed(number, ticket);
  return true;
}

// Commits a new file with its last writing handle, and drops that handle. Returns false if it would
// block, or the file cannot be recorded. Content sealed by then is lost.
bool NamespaceImpl::try_commit(InodeNumber number, const State& state, Journal::Ticket& ticket) {
  const std::unique_lock one(state->persist_mutex, std::try_to_lock);
  if (!one || state->sticky_error) return false;
  const std::unique_lock content(state->content_lock, std::try_to_lock);
  if (!content) return false;
  std::shared_ptr<ContentWriter> writer;  // destroyed without locks
  std::optional<ChangeLock> lock = begin_change(kSmallRecord + sizeof(Extent), RoomFor::content,
                                                Blocking::forbidden, kSmallRecord);
  if (!lock) return false;
  Inode& inode = tree_.get(number);
  const bool simple = !inode.recorded && inode.links > 0 && inode.displaces == 0 && !inode.xattrs;
  if (!simple || !state->writer || state->writers != 1) return false;
  std::optional<ContentWriter::Sealed> sealed = state->writer->try_seal();
  if (!sealed) return false;
  state->committing = true;
  try {
    ticket = record_sealed_locked(inode, *state, std::move(*sealed));
  } catch (...) {
    state->committing = false;
    state->sticky_error = std::current_exception();
    state->writer->forget_places();
    throw;
  }
  --state->writers;
  writer = state->set_writer(nullptr);
  state->committing = false;
  commits_.notify_all();
  unpin_inode(number);
  return true;
}

NamespaceImpl::Closing NamespaceImpl::begin_close(ActiveInode& state, bool writer) noexcept {
  if (!writer) return Closing::handle;
  const TreeLock lock(tree_mutex_);
  if (--state.writers > 0) return Closing::handle;
  if (!state.writer) return Closing::log;
  state.committing = true;
  if (const Journal::SharedPlaceholder placeholder = state.placeholder.get())
    journal_->expect(*placeholder);
  return Closing::file;
}

void NamespaceImpl::end_close(InodeNumber number, const State& state, Closing closing) noexcept {
  if (closing == Closing::file) return commit_closed(number, state);
  if (closing == Closing::log) attempt_close(number, [&] { record_log_times(number, *state); });
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

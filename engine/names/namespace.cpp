#include "engine/names/namespace.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <fnmatch.h>

#include "engine/base/error.h"
#include "engine/names/times.h"

namespace mpool::names {

void refuse(int code, std::string_view name, std::string_view why) {
  raise(code, std::string(name), "{}", why);
}

void refuse_inode(int code, InodeNumber inode, std::string_view why) {
  raise(code, fmt::format("inode {}", inode), "{}", why);
}

Choice choose(std::string_view rules, std::string_view name) {
  const std::string text(name);
  while (!rules.empty()) {
    const std::size_t end = std::min(rules.find(' '), rules.size());
    const std::string_view rule = rules.substr(0, end);
    rules.remove_prefix(std::min(end + 1, rules.size()));
    const std::size_t equals = rule.rfind('=');
    if (equals == std::string_view::npos) continue;
    if (fnmatch(std::string(rule.substr(0, equals)).c_str(), text.c_str(), 0) != 0) continue;
    return rule.substr(equals + 1) == "mlog" ? Choice::mlog : Choice::mblock;
  }
  return Choice::none;
}

// --- locking and recording ---

void NamespaceImpl::check_writable() const {
  if (foreign_) {
    raise(EROFS, "pool " + pool_.name(),
          "its root MDC belongs to another program: the named tree is read-only");
  }
  if (options_.read_only) raise(EROFS, "pool " + pool_.name(), "mounted read-only");
  check_online();
}

bool NamespaceImpl::room_is_certain() const {
  return std::ranges::all_of(
      std::array{MediaClass::capacity, MediaClass::staging}, [this](MediaClass media_class) {
        return !pool_.has_class(media_class) || pool_.device(media_class).room_is_certain();
      });
}

void NamespaceImpl::check_online() const {
  if (pool_.offline()) {
    raise(EIO, "pool " + pool_.name(),
          "a device failed for writing: nothing can be changed until the pool is mounted again");
  }
}

RoomFor NamespaceImpl::room_for_names(mpool::Owner owner) {
  return owner.uid == 0 ? RoomFor::root_names : RoomFor::names;
}

NamespaceImpl::ChangeLock NamespaceImpl::lock_for_change() {
  Journal::ChangeBarrier barrier = journal_ ? journal_->enter_change() : Journal::ChangeBarrier();
  return {std::move(barrier), TreeLock(tree_mutex_)};
}

NamespaceImpl::ChangeLock NamespaceImpl::begin_change(std::size_t record_size, RoomFor room_for,
                                                      std::size_t counted) {
  check_writable();
  for (;;) {
    journal_->make_room(record_size, room_for, counted);
    ChangeLock lock = lock_for_change();
    // Other threads may have taken the room meanwhile.
    if (journal_->has_room(record_size, room_for, counted)) return lock;
  }
}

std::optional<NamespaceImpl::ChangeLock> NamespaceImpl::begin_change(std::size_t record_size,
                                                                     RoomFor room_for,
                                                                     Blocking blocking,
                                                                     std::size_t counted) {
  if (blocking == Blocking::allowed) return begin_change(record_size, room_for, counted);
  check_writable();
  if (options_.sync) return std::nullopt;
  Journal::ChangeBarrier barrier = journal_->try_enter_change();
  if (!barrier) return std::nullopt;
  ChangeLock lock{std::move(barrier), TreeLock(tree_mutex_)};
  if (!journal_->has_room(record_size, room_for, counted)) return std::nullopt;
  return lock;
}

Journal::Ticket NamespaceImpl::record_only(const Record& record,
                                           Journal::Placeholder* placeholder) {
  return journal_->add({.record = encode(record), .mblocks = {}, .mlog = {}, .deletes = {}},
                       placeholder);
}

Journal::Ticket NamespaceImpl::record_attributes(const Inode& inode,
                                                 Journal::Placeholder* placeholder) {
  return record_only(
      {inode.attributes.ctime, AttributesRecord{inode.number, inode.attributes, inode.media_class}},
      placeholder);
}

Journal::Ticket NamespaceImpl::change(const Record& record) {
  const InodeNumber unnamed = tree_.apply(record);
  const Journal::Ticket ticket = record_only(record);
  if (unnamed != 0) {
    Inode& inode = tree_.get(unnamed);
    if (!inode.open || inode.open->handles == 0) destroy_unless_referenced(inode);
  }
  return ticket;
}

Journal::Ticket NamespaceImpl::change_if_on_media(const Inode& inode, const Record& record) {
  if (inode.open) withdraw_placeholder(*inode.open);
  if (inode.on_media()) return change(record);
  tree_.apply(record);
  return 0;
}

void NamespaceImpl::finish(ChangeLock& lock, Journal::Ticket ticket) {
  lock.tree.unlock();
  lock.barrier = {};
  if (options_.sync) journal_->wait(ticket);
}

Journal::Ticket NamespaceImpl::release_displaced(Inode& inode, bool recorded_by_caller) {
  const InodeNumber displaced = std::exchange(inode.displaces, 0);
  if (displaced == 0) return 0;
  Journal::Ticket ticket = 0;
  if (!recorded_by_caller) {
    ticket = record_only({now(), UnlinkRecord{inode.open->parent, inode.open->name}});
  }
  --tree_.get(displaced).displaced_by;
  unpin_inode(displaced);
  return ticket;
}

void NamespaceImpl::sync() {
  if (!journal_) return;
  journal_->sync();
  dirty_logs_.check();
  check_online();
}

Losses NamespaceImpl::losses() const {
  return {.device_failed = pool_.offline(),
          .changes = journal_ ? journal_->lost_changes() : 0,
          .files = lost_files_.load(),
          .logs = dirty_logs_.size()};
}

void NamespaceImpl::on_create_failed(CreateFailed callback) {
  const std::lock_guard lock(callback_mutex_);
  create_failed_ = std::move(callback);
}

void NamespaceImpl::on_durable(Durable callback) {
  const std::lock_guard lock(callback_mutex_);
  durable_ = std::move(callback);
}

void NamespaceImpl::on_removed(Removed callback) {
  const std::lock_guard lock(callback_mutex_);
  removed_ = std::move(callback);
}

void NamespaceImpl::on_no_room(std::function<void()> callback) {
  const std::lock_guard lock(callback_mutex_);
  no_room_ = std::move(callback);
}

void NamespaceImpl::hold_deletes(bool hold) {
  if (journal_) journal_->hold_deletes(hold);
}

void NamespaceImpl::on_committed(Committed callback) {
  const std::lock_guard lock(callback_mutex_);
  committed_ = std::move(callback);
}

}  // namespace mpool::names

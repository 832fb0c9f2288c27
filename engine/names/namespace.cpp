#include "engine/names/namespace.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <utility>

#include <fnmatch.h>
#include <sys/stat.h>

#include "engine/base/error.h"
#include "engine/names/times.h"

namespace mpool::names {
namespace {

constexpr std::uint64_t kStatBlockSize = 512;

}  // namespace

void refuse(int code, std::string_view name, std::string_view why) {
  raise(code, std::string(name), "{}", why);
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

[[noreturn]] static void refuse_absent(std::string_view name) {
  refuse(ENOENT, name, "no such file or directory");
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

std::optional<NamespaceImpl::ChangeLock> NamespaceImpl::begin_change_now(std::size_t record_size,
                                                                         RoomFor room_for,
                                                                         std::size_t counted) {
  check_writable();
  if (options_.sync) return std::nullopt;
  Journal::ChangeBarrier barrier = journal_->try_enter_change();
  if (!barrier) return std::nullopt;
  ChangeLock lock{std::move(barrier), TreeLock(tree_mutex_)};
  if (!journal_->has_room(record_size, room_for, counted)) return std::nullopt;
  return lock;
}

Journal::Ticket NamespaceImpl::record_only(const Record& record) {
  return journal_->add({.record = encode(record), .mblocks = {}, .mlog = {}, .deletes = {}});
}

Journal::Ticket NamespaceImpl::record_attributes(const Inode& inode) {
  return record_only({inode.attributes.ctime,
                      AttributesRecord{inode.number, inode.attributes, inode.media_class}});
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

// --- looking ---

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
  if (is_being_written(inode)) result.size = inode.open->writer->length();
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
bool NamespaceImpl::set_log_size_now(const Inode& inode, Attributes& attributes) const {
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

LookupAnswer NamespaceImpl::lookup_now(InodeNumber parent, std::string_view name,
                                       LookupReference reference) {
  const TreeReadLock lock(tree_mutex_);
  const InodeNumber number = find_or_none(tree_.get_directory(parent), name);
  if (number == 0) return {.kind = LookupAnswer::Kind::absent};
  Inode& inode = tree_.get(number);
  LookupAnswer answer{.kind = LookupAnswer::Kind::found, .attributes = describe(inode)};
  if (!set_log_size_now(inode, answer.attributes)) {
    answer.kind = LookupAnswer::Kind::must_wait;
  } else if (reference == LookupReference::take && !answer.attributes.being_written) {
    inode.references.fetch_add(1, std::memory_order_relaxed);
  }
  return answer;
}

std::optional<Attributes> NamespaceImpl::attributes_now(InodeNumber number) {
  const TreeReadLock lock(tree_mutex_);
  const Inode& inode = tree_.get(number);
  std::optional<Attributes> found = describe(inode);
  if (!set_log_size_now(inode, *found)) found.reset();
  return found;
}

Attributes NamespaceImpl::lookup(InodeNumber parent, std::string_view name,
                                 LookupReference reference) {
  for (;;) {
    const LookupAnswer answer = lookup_now(parent, name, LookupReference::none);
    if (answer.kind == LookupAnswer::Kind::absent) refuse_absent(name);
    const Attributes found = answer ? *answer : with_log_size(answer.attributes);
    if (reference == LookupReference::none) return found;
    InodeNumber inode = found.inode;
    ref({&inode, 1});
    // Otherwise the inode is gone, and its name too.
    if (inode != 0) return found;
  }
}

Attributes NamespaceImpl::attributes(InodeNumber number) {
  TreeReadLock lock(tree_mutex_);
  const Inode& inode = tree_.get(number);
  Attributes found = describe(inode);
  if (set_log_size_now(inode, found)) return found;
  lock.unlock();
  return with_log_size(found);
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

// --- changing ---

Attributes NamespaceImpl::set_attributes(InodeNumber number, const AttributeChange& wanted) {
  ChangeLock lock = begin_change(kSmallRecord, RoomFor::release);
  Inode& inode = tree_.get(number);
  InodeAttributes attributes = inode.attributes;
  const Nanoseconds time = now();
  attributes.mode = wanted.mode.value_or(attributes.mode) & kPermissionBits;
  attributes.uid = wanted.uid.value_or(attributes.uid);
  attributes.gid = wanted.gid.value_or(attributes.gid);
  if (wanted.atime) attributes.atime = to_nanoseconds(*wanted.atime);
  if (wanted.mtime) {
    attributes.mtime = to_nanoseconds(*wanted.mtime);
    if (inode.open) {
      inode.open->times_set = true;
      inode.open->log_written_at = 0;
    }
  }
  attributes.ctime = time;
  const Record record{time, AttributesRecord{number, attributes, inode.media_class}};
  const Journal::Ticket ticket = change_if_on_media(inode, record);
  const Attributes result = describe(inode);
  finish(lock, ticket);
  return with_log_size(result);
}

CreateRecord NamespaceImpl::new_inode(Inode& parent, std::string_view name, FileKind kind,
                                      std::uint32_t mode, mpool::Owner owner) {
  const Nanoseconds time = now();
  const bool inherits_group = (parent.attributes.mode & S_ISGID) != 0;
  mode &= kPermissionBits;
  if (inherits_group && kind == FileKind::directory) mode |= S_ISGID;
  CreateRecord record{.inode = tree_.take_inode_number(),
                      .parent = parent.number,
                      .name = std::string(name),
                      .attributes = {.mode = mode,
                                     .uid = owner.uid,
                                     .gid = inherits_group ? parent.attributes.gid : owner.gid,
                                     .atime = time,
                                     .mtime = time,
                                     .ctime = time},
                      .media_class = parent.media_class,
                      .choice = Choice::none,
                      .target = {},
                      .content = {.kind = kind, .size = 0, .extents = {}}};
  if (kind == FileKind::empty && parent.xattrs) {
    const auto rules = parent.xattrs->find(std::string(kCreateXattr));
    if (rules != parent.xattrs->end()) record.choice = choose(rules->second, name);
  }
  return record;
}

Journal::Ticket NamespaceImpl::inherit_policy(InodeNumber inode, const Inode& parent,
                                              Journal::Ticket ticket) {
  if (!parent.xattrs) return ticket;
  const auto rules = parent.xattrs->find(std::string(kCreateXattr));
  if (rules == parent.xattrs->end()) return ticket;
  return change({now(), XattrRecord{inode, rules->first, true, rules->second}});
}

Attributes NamespaceImpl::make_directory(InodeNumber parent, std::string_view name,
                                         std::uint32_t mode, mpool::Owner owner) {
  ChangeLock lock = begin_change(kSmallRecord + kMaxRulesSize, room_for_names(owner));
  Inode& directory = tree_.get_directory(parent);
  check_new_name(directory, name);
  const CreateRecord record = new_inode(directory, name, FileKind::directory, mode, owner);
  const Journal::Ticket ticket = change({record.attributes.mtime, record});
  const Journal::Ticket last = inherit_policy(record.inode, directory, ticket);
  const Attributes result = describe(tree_.get(record.inode));
  finish(lock, last);
  return result;
}

Attributes NamespaceImpl::make_symlink(InodeNumber parent, std::string_view name,
                                       std::string_view target, mpool::Owner owner) {
  if (target.size() > kMaxSymlinkLength) refuse(ENAMETOOLONG, name, "the target is too long");
  ChangeLock lock = begin_change(kSmallRecord + kMaxSymlinkLength, room_for_names(owner));
  Inode& directory = tree_.get_directory(parent);
  check_new_name(directory, name);
  CreateRecord record = new_inode(directory, name, FileKind::symlink, 0777, owner);
  record.target = target;
  const Journal::Ticket ticket = change({record.attributes.mtime, record});
  const Attributes result = describe(tree_.get(record.inode));
  finish(lock, ticket);
  return result;
}

Attributes NamespaceImpl::make_file(InodeNumber parent, std::string_view name, std::uint32_t mode,
                                    mpool::Owner owner) {
  return make_without_content(parent, name, FileKind::empty, mode, owner, 0);
}

Attributes NamespaceImpl::make_special(InodeNumber parent, std::string_view name, FileKind kind,
                                       std::uint32_t mode, mpool::Owner owner,
                                       std::uint64_t device) {
  if (!is_special(kind)) refuse(EINVAL, name, "is to be no special file");
  return make_without_content(parent, name, kind, mode, owner, device);
}

Attributes NamespaceImpl::make_without_content(InodeNumber parent, std::string_view name,
                                               FileKind kind, std::uint32_t mode,
                                               mpool::Owner owner, std::uint64_t device) {
  ChangeLock lock = begin_change(kSmallRecord, room_for_names(owner));
  Inode& directory = tree_.get_directory(parent);
  check_new_name(directory, name);
  CreateRecord record = new_inode(directory, name, kind, mode, owner);
  record.content.size = device;
  const Journal::Ticket ticket = change({record.attributes.mtime, record});
  const Attributes result = describe(tree_.get(record.inode));
  finish(lock, ticket);
  return result;
}

void NamespaceImpl::check_link(InodeNumber number, InodeNumber parent, std::string_view name) {
  const Inode& inode = tree_.get(number);
  if (inode.is_directory()) refuse(EPERM, name, "a directory has one name");
  if (inode.links == 0) refuse(ENOENT, name, "the file was removed");
  check_new_name(tree_.get_directory(parent), name);
}

Attributes NamespaceImpl::link(InodeNumber number, InodeNumber parent, std::string_view name) {
  check_writable();
  {
    const TreeReadLock lock(tree_mutex_);
    check_link(number, parent, name);
  }
  record_early(number);
  ChangeLock lock = begin_change(kSmallRecord, RoomFor::names);
  check_link(number, parent, name);
  const Inode& inode = tree_.get(number);
  const Journal::Ticket ticket = change({now(), LinkRecord{number, parent, std::string(name)}});
  const Attributes result = describe(inode);
  finish(lock, ticket);
  return with_log_size(result);
}

Inode& NamespaceImpl::file_to_remove(InodeNumber parent, std::string_view name) {
  Inode& inode = tree_.get(find_name(tree_.get_directory(parent), name));
  if (inode.is_directory()) refuse(EISDIR, name, "is a directory");
  return inode;
}

Inode& NamespaceImpl::directory_to_remove(InodeNumber parent, std::string_view name) {
  Inode& inode = tree_.get(find_name(tree_.get_directory(parent), name));
  if (!inode.is_directory()) refuse(ENOTDIR, name, "is no directory");
  if (!inode.directory->empty()) refuse(ENOTEMPTY, name, "the directory is not empty");
  return inode;
}

void NamespaceImpl::unlink(InodeNumber parent, std::string_view name) {
  ChangeLock lock = begin_change(kSmallRecord, RoomFor::release);
  Inode& inode = file_to_remove(parent, name);
  const Record record{now(), UnlinkRecord{parent, std::string(name)}};
  if (inode.recorded) {
    finish(lock, change(record));
    return;
  }
  // Not on the media yet: only the inode it displaces must be removed there.
  release_displaced(inode, false);
  tree_.apply(record);
  finish(lock, record_attributes(tree_.get(parent)));
}

bool NamespaceImpl::unlink_now(InodeNumber parent, std::string_view name) {
  std::optional<ChangeLock> lock = begin_change_now(kSmallRecord, RoomFor::release);
  if (!lock) return false;
  const Inode& inode = file_to_remove(parent, name);
  // A log writes when it is closed.
  if (!inode.recorded || inode.kind == FileKind::log) return false;
  if (inode.extents && inode.extents->size() > kMaxExtentsAtOnce) return false;
  finish(*lock, change({now(), UnlinkRecord{parent, std::string(name)}}));
  return true;
}

void NamespaceImpl::remove_directory(InodeNumber parent, std::string_view name) {
  ChangeLock lock = begin_change(kSmallRecord, RoomFor::release);
  directory_to_remove(parent, name);
  finish(lock, change({now(), UnlinkRecord{parent, std::string(name)}}));
}

bool NamespaceImpl::remove_directory_now(InodeNumber parent, std::string_view name) {
  std::optional<ChangeLock> lock = begin_change_now(kSmallRecord, RoomFor::release);
  if (!lock) return false;
  directory_to_remove(parent, name);
  finish(*lock, change({now(), UnlinkRecord{parent, std::string(name)}}));
  return true;
}

void NamespaceImpl::check_rename(const Inode& inode, const Inode* target, InodeNumber new_parent,
                                 RenameMode mode) {
  if (inode.is_directory() && tree_.is_below(new_parent, inode.number)) {
    raise(EINVAL, "rename", "a directory cannot be moved below itself");
  }
  if (mode == RenameMode::exchange) {
    if (target == nullptr) raise(ENOENT, "rename", "there is nothing to exchange with");
    return;
  }
  if (target == nullptr) return;
  if (mode == RenameMode::no_replace) raise(EEXIST, "rename", "the new name exists");
  if (target->is_directory()) {
    if (!inode.is_directory()) raise(EISDIR, "rename", "the new name is a directory");
    if (!target->directory->empty()) raise(ENOTEMPTY, "rename", "the new name is not empty");
  } else if (inode.is_directory()) {
    raise(ENOTDIR, "rename", "the new name is no directory");
  }
}

void NamespaceImpl::rename(InodeNumber parent, std::string_view name, InodeNumber new_parent,
                           std::string_view new_name, RenameMode mode) {
  while (const InodeNumber pending = try_rename(parent, name, new_parent, new_name, mode)) {
    record_early(pending);
  }
}

InodeNumber NamespaceImpl::try_rename(InodeNumber parent, std::string_view name,
                                      InodeNumber new_parent, std::string_view new_name,
                                      RenameMode mode) {
  const bool lengthens = new_name.size() > name.size();
  ChangeLock lock = begin_change(kSmallRecord, lengthens ? RoomFor::names : RoomFor::release);
  Inode& from = tree_.get_directory(parent);
  Inode& to = tree_.get_directory(new_parent);
  Inode& inode = tree_.get(find_name(from, name));
  Inode* target = tree_.find(to.directory->find(new_name));
  if (target == nullptr) check_new_name(to, new_name);
  if (target == &inode && mode != RenameMode::no_replace)
    return 0;  // two names of one file: no effect
  check_rename(inode, target, new_parent, mode);
  if (target != nullptr && mode == RenameMode::exchange && target->is_directory() &&
      tree_.is_below(parent, target->number)) {
    raise(EINVAL, "rename", "a directory cannot be moved below itself");
  }
  if (mode == RenameMode::exchange) {
    if (!inode.recorded) return inode.number;
    if (!target->recorded) return target->number;
  }
  const RenameRecord record{parent, std::string(name), new_parent, std::string(new_name),
                            mode == RenameMode::exchange};
  finish(lock,
         inode.recorded ? rename_recorded(record, target) : rename_pending(record, inode, target));
  return 0;
}

Journal::Ticket NamespaceImpl::rename_recorded(const RenameRecord& record, Inode* target) {
  const bool replaces_pending = !record.exchange && target != nullptr && !target->recorded;
  const Journal::Ticket ticket = change({now(), record});
  // On the media the record replaces the file that the pending file displaced.
  if (replaces_pending) release_displaced(*target, true);
  return ticket;
}

// The new name reaches the media when the file is recorded. Until then the replaced file stays
// there.
Journal::Ticket NamespaceImpl::rename_pending(const RenameRecord& record, Inode& inode,
                                              Inode* target) {
  release_displaced(inode, false);
  if (target != nullptr && target->recorded) {
    pin_inode(*target);
    ++target->displaced_by;
    inode.displaces = target->number;
  } else if (target != nullptr) {
    inode.displaces = std::exchange(target->displaces, 0);
  }
  inode.open->parent = record.new_parent;
  inode.open->name = record.new_name;
  tree_.apply({now(), record});
  record_attributes(tree_.get(record.parent));
  return record_attributes(tree_.get(record.new_parent));
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

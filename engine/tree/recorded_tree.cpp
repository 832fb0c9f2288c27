#include "engine/tree/recorded_tree.h"

#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>

#include "engine/base/error.h"
#include "engine/tree/policy.h"

namespace mpool::names {

void refuse(int code, std::string_view name, std::string_view why) {
  raise(code, std::string(name), "{}", why);
}

void refuse_inode(int code, InodeNumber inode, std::string_view why) {
  raise(code, fmt::format("inode {}", inode), "{}", why);
}

void refuse_absent(std::string_view name) {
  refuse(ENOENT, name, "no such file or directory");
}

// --- locking and recording ---

void RecordedTree::check_writable() const {
  if (foreign_) {
    raise(EROFS, "pool " + pool_.name(),
          "its root MDC belongs to another program: the named tree is read-only");
  }
  if (options_.read_only) raise(EROFS, "pool " + pool_.name(), "mounted read-only");
  check_online();
}

void RecordedTree::check_online() const {
  if (pool_.offline()) {
    raise(EIO, "pool " + pool_.name(),
          "a device failed for writing: nothing can be changed until the pool is mounted again");
  }
}

ChangeLock RecordedTree::lock_for_change() {
  Journal::ChangeBarrier barrier = journal_ ? journal_->enter_change() : Journal::ChangeBarrier();
  return {std::move(barrier), TreeLock(mutex_)};
}

ChangeLock RecordedTree::begin_change(std::size_t record_size, RoomFor room_for,
                                      std::size_t counted) {
  check_writable();
  for (;;) {
    journal_->make_room(record_size, room_for, counted);
    ChangeLock lock = lock_for_change();
    // Other threads may have taken the room meanwhile.
    if (journal_->has_room(record_size, room_for, counted)) return lock;
  }
}

std::optional<ChangeLock> RecordedTree::begin_change(std::size_t record_size, RoomFor room_for,
                                                     Blocking blocking, std::size_t counted) {
  if (blocking == Blocking::allowed) return begin_change(record_size, room_for, counted);
  check_writable();
  if (options_.sync) return std::nullopt;
  Journal::ChangeBarrier barrier = journal_->try_enter_change();
  if (!barrier) return std::nullopt;
  ChangeLock lock{std::move(barrier), TreeLock(mutex_)};
  if (!journal_->has_room(record_size, room_for, counted)) return std::nullopt;
  return lock;
}

Journal::Ticket RecordedTree::record_only(const Record& record, Journal::Placeholder* placeholder) {
  return journal_->add({.record = encode(record)}, placeholder);
}

Journal::Ticket RecordedTree::record_deletes(const Inode& inode, const Record& record,
                                             std::vector<ObjectId> deletes) {
  Change change{.deletes = std::move(deletes)};
  if (inode.on_media()) change.record = encode(record);
  return change.record.empty() && change.deletes.empty() ? 0 : journal_->add(std::move(change));
}

Journal::Ticket RecordedTree::record_attributes(const Inode& inode,
                                                Journal::Placeholder* placeholder) {
  return record_only(
      {inode.attributes.ctime, AttributesRecord{inode.number, inode.attributes, inode.media_class}},
      placeholder);
}

void RecordedTree::finish(ChangeLock& lock, Journal::Ticket ticket) {
  lock.tree.unlock();
  lock.barrier = {};
  if (options_.sync) journal_->wait(ticket);
}

void RecordedTree::record_mlog(const ObjectRecord& mlog, const std::function<MlogRecords()>& make) {
  Journal::Ticket ticket = 0;
  bool named = false;
  try {
    const ChangeLock lock = begin_change(kSmallRecord, RoomFor::content);
    const MlogRecords records = make();
    Change change{.record = encode(records.written), .mlog = mlog};
    apply(records.applied);
    named = true;
    ticket = journal().add(std::move(change));
  } catch (...) {
    // An mlog that the tree names stays; the journal may have it, too.
    if (!named) pool_.abort(mlog);
    throw;
  }
  journal().wait(ticket);
}

// --- names and attributes ---

InodeNumber RecordedTree::find_or_none(const Inode& directory, std::string_view name) const {
  if (name.size() > kMaxNameLength) refuse(ENAMETOOLONG, name, "the name is too long");
  return directory.directory->find(name);
}

InodeNumber RecordedTree::find_name(const Inode& directory, std::string_view name) const {
  const InodeNumber number = find_or_none(directory, name);
  if (number == 0) refuse_absent(name);
  return number;
}

void RecordedTree::check_new_name(const Inode& directory, std::string_view name) const {
  if (name.size() > kMaxNameLength) refuse(ENAMETOOLONG, name, "the name is too long");
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string_view::npos) {
    refuse(EINVAL, name, "is no name for a file");
  }
  if (directory.links == 0) refuse(ENOENT, name, "its directory was removed");
  if (directory.directory->find(name) != 0) refuse(EEXIST, name, "the name exists");
}

CreateRecord RecordedTree::new_inode(const Inode& parent, std::string_view name, FileKind kind,
                                     std::uint32_t mode, mpool::Owner owner) {
  const Nanoseconds time = now();
  const bool inherits_group = (parent.attributes.mode & S_ISGID) != 0;
  mode &= kPermissionBits;
  if (inherits_group && kind == FileKind::directory) mode |= S_ISGID;
  CreateRecord record{.inode = take_inode_number(),
                      .parent = parent.number,
                      .name = std::string(name),
                      .attributes = {.mode = mode,
                                     .uid = owner.uid,
                                     .gid = inherits_group ? parent.attributes.gid : owner.gid,
                                     .atime = time,
                                     .mtime = time,
                                     .ctime = time},
                      .media_class = parent.media_class,
                      .content = {.kind = kind}};
  if (kind == FileKind::empty && parent.xattrs) {
    const auto rules = parent.xattrs->find(std::string(kCreateXattr));
    if (rules != parent.xattrs->end()) record.choice = choose(rules->second, name);
  }
  return record;
}

}  // namespace mpool::names

// Changes of names and attributes.
#include <cerrno>
#include <utility>

#include <sys/stat.h>

#include "engine/base/error.h"
#include "engine/names/namespace.h"
#include "engine/names/times.h"

namespace mpool::names {

Attributes NamespaceImpl::set_attributes(InodeNumber number, const AttributeChange& wanted) {
  wait_for_release(number);
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
  wait_for_release(number);
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

bool NamespaceImpl::unlink(InodeNumber parent, std::string_view name, Blocking blocking) {
  std::optional<ChangeLock> lock = begin_change(kSmallRecord, RoomFor::release, blocking);
  if (!lock) return false;
  Inode& inode = file_to_remove(parent, name);
  // A log writes when it is closed.
  const bool slow = !inode.recorded || inode.kind == FileKind::log ||
                    (inode.extents && inode.extents->size() > kMaxExtentsAtOnce);
  if (slow && blocking == Blocking::forbidden) return false;
  if (inode.open) withdraw_placeholder(*inode.open);
  const Record record{now(), UnlinkRecord{parent, std::string(name)}};
  if (inode.recorded) {
    finish(*lock, change(record));
    return true;
  }
  // Not on the media yet: only the inode it displaces must be removed there.
  release_displaced(inode, false);
  tree_.apply(record);
  finish(*lock, record_attributes(tree_.get(parent)));
  return true;
}

bool NamespaceImpl::remove_directory(InodeNumber parent, std::string_view name, Blocking blocking) {
  std::optional<ChangeLock> lock = begin_change(kSmallRecord, RoomFor::release, blocking);
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
  wait_for_release(parent, name);
  wait_for_release(new_parent, new_name);
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
  for (Inode* const renamed : {&inode, target}) {
    if (renamed != nullptr && renamed->open) withdraw_placeholder(*renamed->open);
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

}  // namespace mpool::names

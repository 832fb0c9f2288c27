// Changes of names and attributes.
#include <cerrno>
#include <utility>

#include <sys/stat.h>

#include "engine/base/error.h"
#include "engine/names/namespace_impl.h"
#include "engine/tree/policy.h"
#include "engine/tree/times.h"

namespace mpool::names {

namespace {

// What FileCommitter::wait_for_release() may block on. Called with the tree's lock.
bool may_be_closed(const Inode& inode) {
  return is_being_written(inode) && (is_committing(inode) || inode.open->placeholder.is_set());
}

// A commit of the file comes before its name changes, or there is one to come.
bool is_pending(const Inode& inode) {
  return !inode.recorded || is_being_written(inode);
}

// The end of a log writes, that of many objects takes long.
bool ends_slowly(const Inode& inode) {
  return inode.kind == FileKind::log ||
         (inode.extents && inode.extents->size() > kMaxExtentsAtOnce);
}

}  // namespace

std::optional<Attributes> NamespaceImpl::set_attributes(InodeNumber number,
                                                        const AttributeChange& wanted,
                                                        Blocking blocking) {
  if (blocking == Blocking::allowed) committer_.wait_for_release(number);
  std::optional<ChangeLock> lock = tree_.begin_change(kSmallRecord, RoomFor::release, blocking);
  if (!lock) return std::nullopt;
  Inode& inode = tree_.get(number);
  const bool slow = inode.kind == FileKind::log || may_be_closed(inode);
  if (slow && blocking == Blocking::forbidden) return std::nullopt;
  InodeAttributes attributes = inode.attributes;
  const Nanoseconds time = tree_.now();
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
  const Journal::Ticket ticket = inodes_.change_if_on_media(inode, record);
  const Attributes result = inodes_.describe(inode);
  tree_.finish(*lock, ticket);
  return with_log_size(result);
}

Journal::Ticket NamespaceImpl::inherit_policy(InodeNumber inode, const Inode& parent,
                                              Journal::Ticket ticket) {
  for (const std::string_view name : {kCreateXattr, kAdviceXattr}) {
    const std::string value = stored_xattr(parent, name);
    if (value.empty()) continue;
    ticket = inodes_.change({tree_.now(), XattrRecord{inode, std::string(name), true, value}});
  }
  return ticket;
}

Attributes NamespaceImpl::make_symlink(InodeNumber parent, std::string_view name,
                                       std::string_view target, mpool::Owner owner) {
  if (target.size() > kMaxSymlinkLength) refuse(ENAMETOOLONG, name, "the target is too long");
  return *make_inode(parent, name,
                     {.kind = FileKind::symlink, .mode = 0777, .owner = owner, .target = target},
                     Blocking::allowed);
}

Attributes NamespaceImpl::make_special(InodeNumber parent, std::string_view name, FileKind kind,
                                       std::uint32_t mode, mpool::Owner owner,
                                       std::uint64_t device) {
  if (!is_special(kind)) refuse(EINVAL, name, "is to be no special file");
  return *make_inode(parent, name, {.kind = kind, .mode = mode, .owner = owner, .device = device},
                     Blocking::allowed);
}

std::optional<Attributes> NamespaceImpl::make_inode(InodeNumber parent, std::string_view name,
                                                    const NewInode& wanted, Blocking blocking) {
  const bool is_directory = wanted.kind == FileKind::directory;
  const std::size_t more = is_directory ? kMaxRulesSize : wanted.target.size();
  std::optional<ChangeLock> lock =
      tree_.begin_change(kSmallRecord + more, room_for_names(wanted.owner), blocking);
  if (!lock) return std::nullopt;
  Inode& directory = tree_.get_directory(parent);
  tree_.check_new_name(directory, name);
  CreateRecord record = tree_.new_inode(directory, name, wanted.kind, wanted.mode, wanted.owner);
  record.target = wanted.target;
  record.content.size = wanted.device;
  Journal::Ticket ticket = inodes_.change({record.attributes.mtime, record});
  if (is_directory) ticket = inherit_policy(record.inode, directory, ticket);
  const Attributes result = inodes_.describe(tree_.get(record.inode));
  tree_.finish(*lock, ticket);
  return result;
}

namespace {

// No record mentions it, and its content can still be recorded.
bool can_get_first_name(const Inode& inode) {
  return !inode.recorded && is_being_written(inode) && !is_committing(inode);
}

}  // namespace

void NamespaceImpl::check_link(InodeNumber number, InodeNumber parent, std::string_view name) {
  const Inode& inode = tree_.get(number);
  if (inode.is_directory()) refuse(EPERM, name, "a directory has one name");
  if (inode.links == 0 && !can_get_first_name(inode)) refuse(ENOENT, name, "the file was removed");
  tree_.check_new_name(tree_.get_directory(parent), name);
}

// The first name of a file that was created without one: it is a new file from here on.
void NamespaceImpl::give_first_name(InodeNumber number, InodeNumber parent, std::string_view name) {
  {
    const ChangeLock lock = tree_.begin_change(kSmallRecord, RoomFor::names);
    check_link(number, parent, name);
    Inode& inode = tree_.get(number);
    if (inode.links > 0) return;
    tree_.apply({tree_.now(), LinkRecord{number, parent, std::string(name)}});
    inode.open->parent = parent;
    inode.open->name = name;
  }
  try {
    committer_.record_early(number);
  } catch (...) {
    committer_.undo_first_name(number);
    throw;
  }
  if (tree_.options().sync) tree_.journal().wait_all();
}

Attributes NamespaceImpl::link(InodeNumber number, InodeNumber parent, std::string_view name) {
  tree_.check_writable();
  bool is_first = false;
  {
    const TreeReadLock lock(tree_.mutex());
    check_link(number, parent, name);
    is_first = tree_.get(number).links == 0;
  }
  if (is_first) {
    give_first_name(number, parent, name);
    return attributes(number);
  }
  committer_.wait_for_release(number);
  committer_.record_early(number);
  ChangeLock lock = tree_.begin_change(kSmallRecord, RoomFor::names);
  check_link(number, parent, name);
  const Inode& inode = tree_.get(number);
  const Journal::Ticket ticket =
      inodes_.change({tree_.now(), LinkRecord{number, parent, std::string(name)}});
  const Attributes result = inodes_.describe(inode);
  tree_.finish(lock, ticket);
  return with_log_size(result);
}

Inode& NamespaceImpl::file_to_remove(InodeNumber parent, std::string_view name) {
  Inode& inode = tree_.get(tree_.find_name(tree_.get_directory(parent), name));
  if (inode.is_directory()) refuse(EISDIR, name, "is a directory");
  return inode;
}

Inode& NamespaceImpl::directory_to_remove(InodeNumber parent, std::string_view name) {
  Inode& inode = tree_.get(tree_.find_name(tree_.get_directory(parent), name));
  if (!inode.is_directory()) refuse(ENOTDIR, name, "is no directory");
  if (!inode.directory->empty()) refuse(ENOTEMPTY, name, "the directory is not empty");
  return inode;
}

bool NamespaceImpl::unlink(InodeNumber parent, std::string_view name, Blocking blocking) {
  // References keep content that was closed before, so its commit comes first.
  if (blocking == Blocking::allowed) committer_.wait_for_release(parent, name);
  std::optional<ChangeLock> lock = tree_.begin_change(kSmallRecord, RoomFor::release, blocking);
  if (!lock) return false;
  Inode& inode = file_to_remove(parent, name);
  const bool slow = is_pending(inode) || ends_slowly(inode);
  if (slow && blocking == Blocking::forbidden) return false;
  if (inode.open) inodes_.withdraw_placeholder(*inode.open);
  const Record record{tree_.now(), UnlinkRecord{parent, std::string(name)}};
  if (inode.recorded) {
    tree_.finish(*lock, inodes_.change(record));
    return true;
  }
  // Not on the media yet: only the inode it displaces must be removed there.
  inodes_.release_displaced(inode, ActiveInodes::DisplacedRecord::needed);
  tree_.apply(record);
  tree_.finish(*lock, tree_.record_attributes(tree_.get(parent)));
  return true;
}

bool NamespaceImpl::remove_directory(InodeNumber parent, std::string_view name, Blocking blocking) {
  std::optional<ChangeLock> lock = tree_.begin_change(kSmallRecord, RoomFor::release, blocking);
  if (!lock) return false;
  directory_to_remove(parent, name);
  tree_.finish(*lock, inodes_.change({tree_.now(), UnlinkRecord{parent, std::string(name)}}));
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

bool NamespaceImpl::rename(InodeNumber parent, std::string_view name, InodeNumber new_parent,
                           std::string_view new_name, RenameMode mode, Whiteout whiteout,
                           Blocking blocking) {
  if (blocking == Blocking::allowed) {
    committer_.wait_for_release(parent, name);
    committer_.wait_for_release(new_parent, new_name);
  }
  for (;;) {
    const auto pending = try_rename(parent, name, new_parent, new_name, mode, whiteout, blocking);
    if (!pending) return false;
    if (*pending == 0) return true;
    committer_.record_early(*pending);
  }
}

std::optional<InodeNumber> NamespaceImpl::try_rename(InodeNumber parent, std::string_view name,
                                                     InodeNumber new_parent,
                                                     std::string_view new_name, RenameMode mode,
                                                     Whiteout whiteout, Blocking blocking) {
  const bool grows = new_name.size() > name.size() || whiteout;
  std::optional<ChangeLock> lock = tree_.begin_change(
      (whiteout ? 2 : 1) * kSmallRecord, grows ? RoomFor::names : RoomFor::release, blocking);
  if (!lock) return std::nullopt;
  Inode& from = tree_.get_directory(parent);
  Inode& to = tree_.get_directory(new_parent);
  Inode& inode = tree_.get(tree_.find_name(from, name));
  Inode* target = tree_.find(to.directory->find(new_name));
  const bool ends = target != nullptr && mode == RenameMode::replace && ends_slowly(*target);
  const bool slow = ends || is_pending(inode) || (target != nullptr && is_pending(*target));
  if (slow && blocking == Blocking::forbidden) return std::nullopt;
  if (target == nullptr) tree_.check_new_name(to, new_name);
  if (target == &inode && mode != RenameMode::no_replace)
    return 0;  // two names of one file: no effect
  check_rename(inode, target, new_parent, mode);
  if (target != nullptr && mode == RenameMode::exchange && target->is_directory() &&
      tree_.is_below(parent, target->number)) {
    raise(EINVAL, "rename", "a directory cannot be moved below itself");
  }
  for (Inode* const renamed : {&inode, target}) {
    if (renamed != nullptr && renamed->open) inodes_.withdraw_placeholder(*renamed->open);
  }
  if ((mode == RenameMode::exchange || whiteout) && !inode.recorded) return inode.number;
  if (mode == RenameMode::exchange && !target->recorded) return target->number;
  const RenameRecord record{parent, std::string(name), new_parent, std::string(new_name),
                            mode == RenameMode::exchange};
  Journal::Ticket ticket =
      inode.recorded ? rename_recorded(record, target) : rename_pending(record, inode, target);
  if (whiteout) ticket = make_whiteout(tree_.get(parent), name, *whiteout);
  tree_.finish(*lock, ticket);
  return 0;
}

Journal::Ticket NamespaceImpl::make_whiteout(const Inode& directory, std::string_view name,
                                             mpool::Owner owner) {
  const CreateRecord record =
      tree_.new_inode(directory, name, FileKind::character_device, 0, owner);
  return inodes_.change({record.attributes.mtime, record});
}

Journal::Ticket NamespaceImpl::rename_recorded(const RenameRecord& record, Inode* target) {
  const bool replaces_pending = !record.exchange && target != nullptr && !target->recorded;
  const Journal::Ticket ticket = inodes_.change({tree_.now(), record});
  // On the media the record replaces the file that the pending file displaced.
  if (replaces_pending)
    inodes_.release_displaced(*target, ActiveInodes::DisplacedRecord::of_caller);
  return ticket;
}

// The new name reaches the media when the file is recorded. Until then the replaced file stays
// there.
Journal::Ticket NamespaceImpl::rename_pending(const RenameRecord& record, Inode& inode,
                                              Inode* target) {
  inodes_.release_displaced(inode, ActiveInodes::DisplacedRecord::needed);
  if (target != nullptr && target->recorded) {
    inodes_.pin(*target, FileHolder::displaced_name);
    ++target->displaced_by;
    inode.displaces = target->number;
  } else if (target != nullptr) {
    inode.displaces = std::exchange(target->displaces, 0);
  }
  inode.open->parent = record.new_parent;
  inode.open->name = record.new_name;
  tree_.apply({tree_.now(), record});
  tree_.record_attributes(tree_.get(record.parent));
  return tree_.record_attributes(tree_.get(record.new_parent));
}

}  // namespace mpool::names

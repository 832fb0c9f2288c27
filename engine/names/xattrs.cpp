// Extended attributes: the user's own, the policy of directories, and facts about files
// (engine/tree/README.md, "Policy of directories").
#include <array>
#include <cerrno>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/xattr.h>

#include "engine/base/error.h"
#include "engine/cache/advice.h"
#include "engine/names/namespace_impl.h"
#include "engine/tree/policy.h"
#include "engine/tree/times.h"

namespace mpool::names {
namespace {

constexpr std::string_view kUserPrefix = "user.";
constexpr std::string_view kOwnPrefix = "user.mpool.";
constexpr std::string_view kTypeXattr = "user.mpool.type";
constexpr std::string_view kObjectsXattr = "user.mpool.objects";
constexpr std::string_view kCommittedXattr = "user.mpool.committed";

void check_prefix(std::string_view name) {
  if (!name.starts_with(kUserPrefix)) {
    refuse(ENOTSUP, name, "only extended attributes in user.* are supported");
  }
  if (name == kUserPrefix) refuse(EINVAL, name, "is a prefix without a name");
  if (name.size() > kMaxNameLength) refuse(ERANGE, name, "the attribute's name is too long");
}

std::optional<MediaClass> parse_class(std::string_view text) {
  for (const MediaClass media_class : {MediaClass::staging, MediaClass::capacity}) {
    if (text == to_string(media_class)) return media_class;
  }
  return std::nullopt;
}

// "PATTERN=mblock|mlog", separated by blanks.
bool valid_rules(std::string_view rules) {
  while (!rules.empty()) {
    const std::size_t end = std::min(rules.find(' '), rules.size());
    const std::string_view rule = rules.substr(0, end);
    rules.remove_prefix(std::min(end + 1, rules.size()));
    if (rule.empty()) continue;
    const std::size_t equals = rule.rfind('=');
    if (equals == std::string_view::npos || equals == 0) return false;
    const std::string_view what = rule.substr(equals + 1);
    if (what != "mblock" && what != "mlog") return false;
  }
  return true;
}

std::string type_of(const Inode& inode) {
  switch (inode.kind) {
    case FileKind::directory:
      return "directory";
    case FileKind::symlink:
      return "symlink";
    case FileKind::log:
      return "mlog";
    case FileKind::fifo:
      return "fifo";
    case FileKind::socket:
      return "socket";
    case FileKind::character_device:
    case FileKind::block_device:
      return "device";
    case FileKind::empty:
    case FileKind::write_once:
      break;
  }
  if (inode.is_in_pack() && inode.object_count == 0) return "pack";
  const bool mblock = inode.kind == FileKind::write_once || is_being_written(inode);
  return mblock ? "mblock" : "empty";
}

// The value of an attribute that is a fact about the inode, not stored.
std::optional<std::string> read_only_xattr(const Inode& inode, std::string_view name) {
  if (name == kTypeXattr) return type_of(inode);
  if (name == kClassXattr) return std::string(to_string(inode.media_class));
  if (!inode.is_regular()) return std::nullopt;
  if (name == kCommittedXattr) return is_committed(inode) ? "1" : "0";
  if (name == kObjectsXattr) {
    std::vector<std::string> ids;
    for (const ObjectId id : inode.objects())
      ids.push_back(id.to_string());
    for (const ObjectId id : inode.packs())
      ids.push_back(id.to_string());
    return fmt::format("{}", fmt::join(ids, " "));
  }
  return std::nullopt;
}

void check_settable(const Inode& inode, std::string_view name) {
  if (!name.starts_with(kOwnPrefix)) return;
  if (inode.is_directory() && (name == kClassXattr || name == kCreateXattr)) return;
  if (name == kAdviceXattr && (inode.is_directory() || inode.is_regular())) return;
  refuse(EPERM, name, "this attribute cannot be set here");
}

}  // namespace

std::optional<std::string> NamespaceImpl::get_xattr(InodeNumber number, std::string_view name,
                                                    Blocking blocking) {
  check_prefix(name);
  // Facts about the content reflect every close that has returned.
  if (name.starts_with(kOwnPrefix)) {
    if (blocking == Blocking::forbidden) return std::nullopt;
    committer_.wait_for_release(number);
  }
  const TreeReadLock lock(tree_.mutex());
  const Inode& inode = tree_.get(number);
  if (auto value = read_only_xattr(inode, name)) return *value;
  if (inode.xattrs) {
    const auto it = inode.xattrs->find(std::string(name));
    if (it != inode.xattrs->end()) return it->second;
  }
  refuse(ENODATA, name, "no such attribute");
}

std::vector<std::string> NamespaceImpl::list_xattrs(InodeNumber number) {
  const TreeReadLock lock(tree_.mutex());
  const Inode& inode = tree_.get(number);
  // Facts about files can be read by name but are not listed, so that copies do not try to set
  // them.
  std::vector<std::string> names;
  if (inode.is_directory() && inode.media_class != MediaClass::capacity) {
    names.emplace_back(kClassXattr);
  }
  if (inode.xattrs) {
    for (const auto& [name, value] : *inode.xattrs)
      names.push_back(name);
  }
  return names;
}

Advice NamespaceImpl::advice(InodeNumber number) {
  const TreeReadLock lock(tree_.mutex());
  return parse_advice(stored_xattr(tree_.get(number), kAdviceXattr)).value_or(Advice::cold);
}

Journal::Ticket NamespaceImpl::change_xattr(Inode& inode, XattrRecord record) {
  if (record.name == kAdviceXattr) events_.advised(inode.number, record.value);
  return inodes_.change_if_on_media(inode, {tree_.now(), std::move(record)});
}

// An inode that exceeds the limit, from before it existed, may replace values by shorter ones.
void NamespaceImpl::check_xattr_room(const Inode& inode, std::string_view name,
                                     std::size_t value_size) {
  std::size_t before = 0;
  std::size_t replaced = 0;
  if (inode.xattrs) {
    for (const auto& [other, value] : *inode.xattrs) {
      const std::size_t size = other.size() + value.size();
      before += size;
      if (other == name) replaced = size;
    }
  }
  const std::size_t after = before - replaced + name.size() + value_size;
  if (after > kMaxXattrTotal && after > before) {
    refuse(ENOSPC, name, "the inode has no room for more extended attributes");
  }
}

void NamespaceImpl::set_xattr(InodeNumber number, std::string_view name, std::string_view value,
                              int flags) {
  check_prefix(name);
  if (value.size() > (name == kCreateXattr ? kMaxRulesSize : kMaxXattrSize)) {
    refuse(E2BIG, name, "the value is too large");
  }
  committer_.wait_for_release(number);
  ChangeLock lock = tree_.begin_change(kSmallRecord + value.size(), RoomFor::names);
  Inode& inode = tree_.get(number);
  check_settable(inode, name);
  if (name == kClassXattr) {
    const auto media_class = parse_class(value);
    if (!media_class) refuse(EINVAL, name, "the value is neither 'capacity' nor 'staging'");
    if (!pool_.has_class(*media_class)) {
      refuse(EINVAL, name, fmt::format("the pool has no {} device", value));
    }
    const AttributesRecord record{number, inode.attributes, *media_class};
    tree_.finish(lock, inodes_.change_if_on_media(inode, {tree_.now(), record}));
    return;
  }
  if (name == kCreateXattr && !valid_rules(value)) {
    refuse(EINVAL, name, "rules are PATTERN=mblock or PATTERN=mlog, separated by blanks");
  }
  if (name == kAdviceXattr && !parse_advice(value)) {
    refuse(EINVAL, name, "the value is not cold, warm, hot or pinned");
  }
  const bool exists = inode.xattrs && inode.xattrs->contains(std::string(name));
  if (exists && (flags & XATTR_CREATE) != 0) refuse(EEXIST, name, "the attribute exists");
  if (!exists && (flags & XATTR_REPLACE) != 0) refuse(ENODATA, name, "no such attribute");
  check_xattr_room(inode, name, value.size());
  tree_.finish(lock, change_xattr(inode, {number, std::string(name), true, std::string(value)}));
}

void NamespaceImpl::remove_xattr(InodeNumber number, std::string_view name) {
  check_prefix(name);
  committer_.wait_for_release(number);
  ChangeLock lock = tree_.begin_change(kSmallRecord, RoomFor::release);
  Inode& inode = tree_.get(number);
  check_settable(inode, name);
  if (name == kClassXattr) {
    const AttributesRecord record{number, inode.attributes, MediaClass::capacity};
    tree_.finish(lock, inodes_.change_if_on_media(inode, {tree_.now(), record}));
    return;
  }
  if (!inode.xattrs || !inode.xattrs->contains(std::string(name))) {
    refuse(ENODATA, name, "no such attribute");
  }
  tree_.finish(lock, change_xattr(inode, {number, std::string(name), false, {}}));
}

}  // namespace mpool::names

#include "engine/tree/tree.h"

#include <cerrno>
#include <iterator>
#include <unordered_set>
#include <utility>

#include "engine/base/error.h"
#include "engine/tree/footprint.h"

namespace mpool::names {
namespace {

void touch(Inode& inode, Nanoseconds when) {
  inode.attributes.mtime = when;
  inode.attributes.ctime = when;
}

void check_pieces(const ContentRecord& record, const std::vector<Extent>& extents) {
  std::uint64_t end = 0;
  for (const Extent& extent : extents) {
    if (extent.file_offset < end)
      refuse_inode_record("CONTENT", record.inode, "would have a byte twice");
    end = extent.file_offset + extent.length;
  }
  if (end > record.content.size)
    refuse_inode_record("CONTENT", record.inode, "would have bytes past its end");
}

// Removes the extents behind the end of the file.
void cut(std::vector<Extent>& extents, std::uint64_t size) {
  std::erase_if(extents, [&](const Extent& extent) { return extent.file_offset >= size; });
  for (Extent& extent : extents)
    extent.length = std::min(extent.length, size - extent.file_offset);
}

// Makes one extent of neighbours in an mblock. A record of a pack is known by its extent.
void merge(std::vector<Extent>& extents) {
  std::size_t last = 0;
  for (std::size_t i = 1; i < extents.size(); ++i) {
    Extent& before = extents[last];
    const Extent& next = extents[i];
    const bool continues = before.object == next.object && !is_packed(next) &&
                           before.file_offset + before.length == next.file_offset &&
                           before.position + before.length == next.position;
    if (continues) {
      before.length += next.length;
    } else {
      extents[++last] = next;
    }
  }
  if (!extents.empty()) extents.resize(last + 1);
}

// The extents of an inode after the record.
std::vector<Extent> extents_after(const Inode& inode, const ContentRecord& record) {
  std::vector<Extent> extents;
  if (!record.replace && inode.extents) {
    if (record.content.kind != inode.kind) {
      refuse_inode_record("CONTENT", record.inode, "has content of another kind");
    }
    extents = *inode.extents;
    if (cuts(record, inode)) cut(extents, record.content.size);
  }
  extents.insert(extents.end(), record.content.extents.begin(), record.content.extents.end());
  if (record.content.kind == FileKind::write_once) {
    std::ranges::sort(extents, {}, &Extent::file_offset);
    check_pieces(record, extents);
    merge(extents);
  }
  return extents;
}

}  // namespace

CreateRecord create_record(const Inode& inode, InodeNumber parent, const std::string& name) {
  CreateRecord record{.inode = inode.number,
                      .parent = parent,
                      .name = name,
                      .attributes = inode.attributes,
                      .media_class = inode.media_class,
                      .choice = inode.choice,
                      .target = inode.target ? *inode.target : std::string(),
                      .content = {.kind = inode.kind, .size = inode.size}};
  if (inode.extents) record.content.extents = *inode.extents;
  return record;
}

bool cuts(const ContentRecord& record, const Inode& inode) {
  return !record.replace && record.content.extents.empty() && inode.extents &&
         inode.kind == FileKind::write_once && record.content.size < inode.size;
}

std::vector<ObjectId> missing_objects(const std::vector<ObjectId>& before, const Inode& inode) {
  const std::vector<ObjectId> kept = inode.objects();
  const std::unordered_set<ObjectId> all(kept.begin(), kept.end());
  std::vector<ObjectId> missing;
  std::ranges::copy_if(before, std::back_inserter(missing),
                       [&](ObjectId object) { return !all.contains(object); });
  return missing;
}

InodeNumber Directory::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? 0 : by_position_.at(it->second).inode;
}

void Directory::insert(std::string_view name, InodeNumber inode) {
  const std::uint64_t position = next_position_++;
  const auto [it, inserted] = by_position_.emplace(position, Entry{std::string(name), inode});
  by_name_.emplace(it->second.name, position);
}

void Directory::erase(std::string_view name) {
  const auto it = by_name_.find(name);
  const std::uint64_t position = it->second;
  by_name_.erase(it);
  by_position_.erase(position);
}

void Directory::replace(std::string_view name, InodeNumber inode) {
  by_position_.at(by_name_.at(name)).inode = inode;
}

void Inode::set_extents(std::vector<Extent> next) {
  extents = next.empty() ? nullptr : std::make_shared<const std::vector<Extent>>(std::move(next));
  object_count = objects().size();
}

Inode* Tree::find(InodeNumber number) {
  const auto it = inodes_.find(number);
  return it == inodes_.end() ? nullptr : &it->second;
}

Inode& Tree::get(InodeNumber number) {
  if (Inode* inode = find(number)) return *inode;
  raise(ESTALE, "namespace", "inode {} does not exist", number);
}

Inode& Tree::get_directory(InodeNumber number) {
  Inode& inode = get(number);
  if (!inode.is_directory()) raise(ENOTDIR, "namespace", "inode {} is no directory", number);
  return inode;
}

void Tree::erase(InodeNumber number) {
  const auto it = inodes_.find(number);
  if (it == inodes_.end()) return;
  stop_counting(it->second);
  set_content(it->second, FileKind::empty, {});
  inodes_.erase(it);
}

void Tree::count(Inode& inode) {
  if (std::exchange(inode.counted, true)) return;
  add_footprint(footprint_of(inode));
}

void Tree::stop_counting(Inode& inode) {
  if (std::exchange(inode.counted, false)) drop_footprint(footprint_of(inode));
}

void Tree::drop_entry(Inode& directory, std::string_view name) {
  drop_footprint(footprint_of_name(name.size()));
  directory.directory->erase(name);
}

Inode& Tree::require(InodeNumber number, const char* record) {
  if (Inode* inode = find(number)) return *inode;
  refuse_inode_record(record, number, "does not exist");
}

Inode& Tree::require_directory(InodeNumber number, const char* record) {
  Inode& inode = require(number, record);
  if (!inode.is_directory()) refuse_inode_record(record, number, "is no directory");
  return inode;
}

InodeNumber Tree::apply(const Record& record) {
  return std::visit(
      [&](const auto& body) -> InodeNumber {
        if constexpr (requires { apply_body(body, record.when); }) {
          return apply_body(body, record.when);
        } else {
          raise(ENOTRECOVERABLE, "namespace", "record type {} is out of place",
                record.body.index() + 1);
        }
      },
      record.body);
}

InodeNumber Tree::drop_name(Inode& parent, Inode& inode, Nanoseconds when) {
  inode.attributes.ctime = when;
  if (inode.is_directory()) {
    --parent.links;
    inode.links = 0;
  } else {
    if (--inode.links > 0) drop_footprint(footprint_of_link());
  }
  if (inode.links == 0 && inode.displaced_by == 0) stop_counting(inode);
  return inode.links == 0 ? inode.number : 0;
}

InodeNumber Tree::enter(Inode& parent, std::string_view name, Inode& inode, Nanoseconds when) {
  InodeNumber unnamed = 0;
  if (const InodeNumber old = parent.directory->find(name); old != 0) {
    unnamed = drop_name(parent, get(old), when);
    parent.directory->replace(name, inode.number);
  } else {
    parent.directory->insert(name, inode.number);
    add_footprint(footprint_of_name(name.size()));
  }
  if (inode.is_directory()) {
    inode.parent = parent.number;
    ++parent.links;
  }
  touch(parent, when);
  return unnamed;
}

// Without a name, and not counted.
Inode& Tree::add_inode(const CreateRecord& record) {
  raise_next_inode(record.inode + 1);
  Inode& inode = inodes_[record.inode];
  inode.number = record.inode;
  inode.attributes = record.attributes;
  inode.media_class = record.media_class;
  inode.choice = record.choice;
  set_content(inode, record.content.kind, record.content.extents);
  inode.size = record.content.size;
  return inode;
}

Inode& Tree::add_unnamed(const CreateRecord& record) {
  Inode& inode = add_inode(record);
  inode.recorded = false;
  return inode;
}

InodeNumber Tree::apply_body(const CreateRecord& record, Nanoseconds when) {
  const bool is_root = record.inode == kRootInode;
  if (is_root && record.content.kind != FileKind::directory) {
    refuse_inode_record("CREATE", record.inode, "is the root, but no directory");
  }
  if (find(record.inode) != nullptr) refuse_inode_record("CREATE", record.inode, "exists already");
  if (!is_root) {
    Inode& parent = require_directory(record.parent, "CREATE");
    const Inode* old = find(parent.directory->find(record.name));
    if (old != nullptr && old->is_directory()) {
      refuse_inode_record("CREATE", record.inode, "would replace a directory");
    }
    // Only a file replaces an existing name when it is recorded.
    if (old != nullptr && !is_regular(record.content.kind)) {
      refuse_inode_record("CREATE", record.inode, "has a name in its way");
    }
  }
  check_packs("CREATE", record.inode, record.content.kind, record.content.extents);
  Inode& inode = add_inode(record);
  inode.links = inode.is_directory() ? 2 : 1;
  if (inode.is_directory()) inode.directory = std::make_unique<Directory>();
  if (inode.kind == FileKind::symlink) inode.target = std::make_unique<std::string>(record.target);
  count(inode);
  if (is_root) {
    inode.parent = kRootInode;
    return 0;
  }
  return enter(get(record.parent), record.name, inode, when);
}

InodeNumber Tree::apply_body(const ContentRecord& record, Nanoseconds when) {
  Inode& inode = require(record.inode, "CONTENT");
  if (!inode.is_regular()) {
    refuse_inode_record("CONTENT", record.inode, "is no regular file");
  }
  if (!is_regular(record.content.kind)) {
    refuse_inode_record("CONTENT", record.inode, "would be no regular file any more");
  }
  if (inode.kind == FileKind::log && !record.replace && record.content.extents.empty()) {
    // Only its size was found: that is no modification.
    inode.size = record.content.size;
    return 0;
  }
  check_packs("CONTENT", record.inode, record.content.kind, record.content.extents);
  std::vector<Extent> extents = extents_after(inode, record);
  const bool counted = inode.counted;
  if (counted) drop_footprint(footprint_of_extents(inode.extents ? inode.extents->size() : 0));
  if (counted) add_footprint(footprint_of_extents(extents.size()));
  set_content(inode, record.content.kind, std::move(extents));
  inode.size = record.content.size;
  touch(inode, when);
  return 0;
}

InodeNumber Tree::apply_body(const AttributesRecord& record, Nanoseconds) {
  Inode& inode = require(record.inode, "ATTRIBUTES");
  inode.attributes = record.attributes;
  inode.media_class = record.media_class;
  return 0;
}

InodeNumber Tree::apply_body(const LinkRecord& record, Nanoseconds when) {
  Inode& inode = require(record.inode, "LINK");
  Inode& parent = require_directory(record.parent, "LINK");
  if (inode.is_directory()) refuse_inode_record("LINK", record.inode, "is a directory");
  if (parent.directory->find(record.name) != 0)
    refuse_inode_record("LINK", record.inode, "has a name in its way");
  if (++inode.links > 1) add_footprint(footprint_of_link());
  count(inode);
  inode.attributes.ctime = when;
  return enter(parent, record.name, inode, when);
}

InodeNumber Tree::apply_body(const UnlinkRecord& record, Nanoseconds when) {
  Inode& parent = require_directory(record.parent, "UNLINK");
  const InodeNumber number = parent.directory->find(record.name);
  if (number == 0) refuse_inode_record("UNLINK", record.parent, "has no such name");
  Inode& inode = get(number);
  if (inode.is_directory() && !inode.directory->empty())
    refuse_inode_record("UNLINK", number, "is not empty");
  drop_entry(parent, record.name);
  touch(parent, when);
  return drop_name(parent, inode, when);
}

InodeNumber Tree::apply_body(const RenameRecord& record, Nanoseconds when) {
  Inode& from = require_directory(record.parent, "RENAME");
  Inode& to = require_directory(record.new_parent, "RENAME");
  const InodeNumber number = from.directory->find(record.name);
  const InodeNumber target = to.directory->find(record.new_name);
  if (number == 0) refuse_inode_record("RENAME", record.parent, "has no such name");
  Inode& inode = get(number);
  if (inode.is_directory() && is_below(to.number, number)) {
    refuse_inode_record("RENAME", number, "would lie below itself");
  }
  if (record.exchange) {
    if (target == 0) refuse_inode_record("RENAME", record.new_parent, "has no such name");
    Inode& other = get(target);
    if (other.is_directory() && is_below(from.number, target)) {
      refuse_inode_record("RENAME", target, "would lie below itself");
    }
    inode.attributes.ctime = when;
    other.attributes.ctime = when;
    const auto move = [](Inode& moved, Inode& source, Inode& destination) {
      if (!moved.is_directory()) return;
      --source.links;
      ++destination.links;
      moved.parent = destination.number;
    };
    from.directory->replace(record.name, target);
    to.directory->replace(record.new_name, number);
    move(inode, from, to);
    move(other, to, from);
    touch(from, when);
    touch(to, when);
    return 0;
  }
  if (target != 0) {
    const Inode& old = get(target);
    if (old.is_directory() && !old.directory->empty())
      refuse_inode_record("RENAME", target, "is not empty");
    if (old.is_directory() != inode.is_directory()) {
      refuse_inode_record("RENAME", target, "would be replaced by what is of another kind");
    }
  }
  inode.attributes.ctime = when;
  drop_entry(from, record.name);
  if (inode.is_directory()) --from.links;
  touch(from, when);
  return enter(to, record.new_name, inode, when);
}

InodeNumber Tree::apply_body(const XattrRecord& record, Nanoseconds when) {
  Inode& inode = require(record.inode, "XATTR");
  inode.attributes.ctime = when;
  if (inode.xattrs) drop_xattr(inode, record.name);
  if (record.present) set_xattr(inode, record.name, record.value);
  return 0;
}

void Tree::set_xattr(Inode& inode, const std::string& name, const std::string& value) {
  if (!inode.xattrs) inode.xattrs = std::make_unique<std::map<std::string, std::string>>();
  inode.xattrs->emplace(name, value);
  if (inode.counted) add_footprint(footprint_of_xattr(name.size(), value.size()));
}

void Tree::drop_xattr(Inode& inode, const std::string& name) {
  const auto it = inode.xattrs->find(name);
  if (it == inode.xattrs->end()) return;
  if (inode.counted) drop_footprint(footprint_of_xattr(name.size(), it->second.size()));
  inode.xattrs->erase(it);
  if (inode.xattrs->empty()) inode.xattrs.reset();
}

InodeNumber Tree::take_inode_number() {
  if (next_inode_ >= kMaxInode) raise(ENOSPC, "namespace", "all inode numbers are used up");
  return next_inode_++;
}

void Tree::set_exact_sizes(const std::vector<InodeNumber>& inexact) {
  for (auto& [number, inode] : inodes_)
    inode.size_exact = inode.kind == FileKind::log;
  for (const InodeNumber number : inexact) {
    if (Inode* inode = find(number)) inode->size_exact = false;
  }
}

bool Tree::is_below(InodeNumber inode, InodeNumber ancestor) {
  for (;;) {
    if (inode == ancestor) return true;
    if (inode == kRootInode) return false;
    inode = get_directory(inode).parent;
  }
}

std::string Tree::path_of(InodeNumber number) const {
  std::string path;
  while (number != kRootInode) {
    const Directory::Entry* named = nullptr;
    InodeNumber parent = 0;
    for (const auto& [candidate, inode] : inodes_) {
      if (named != nullptr || !inode.is_directory()) continue;
      for (const auto& [position, entry] : inode.directory->entries()) {
        if (entry.inode == number) {
          named = &entry;
          parent = candidate;
        }
      }
    }
    if (named == nullptr) return "inode " + std::to_string(number) + path;
    path.insert(0, "/" + named->name);
    number = parent;
  }
  return path.empty() ? "/" : path;
}

void Tree::snapshot(const std::function<void(const Record&)>& emit) const {
  const auto emit_inode = [&](const Inode& inode, InodeNumber parent, const std::string& name) {
    // The time of a CREATE becomes its parent's mtime; the parent's own is restored below.
    emit({inode.attributes.mtime, create_record(inode, parent, name)});
    if (!inode.xattrs) return;
    for (const auto& [key, value] : *inode.xattrs) {
      emit({inode.attributes.ctime, XattrRecord{inode.number, key, true, value}});
    }
  };
  for (const auto& [pack, usage] : packs_.packs())
    emit({0, PackRecord{pack}});
  std::unordered_set<InodeNumber> linked;  // further names of these are LINKs
  std::vector<const Inode*> pending{&inodes_.at(kRootInode)};
  emit_inode(*pending.back(), 0, "");
  while (!pending.empty()) {
    const Inode& directory = *pending.back();
    pending.pop_back();
    for (const auto& [position, entry] : directory.directory->entries()) {
      const Inode* named = &inodes_.at(entry.inode);
      if (!named->recorded && named->displaces == 0) continue;
      const Inode& inode = named->recorded ? *named : inodes_.at(named->displaces);
      const bool several = inode.links + inode.displaced_by > 1;
      if (!inode.is_directory() && several && !linked.insert(inode.number).second) {
        emit({inode.attributes.ctime, LinkRecord{inode.number, directory.number, entry.name}});
        continue;
      }
      emit_inode(inode, directory.number, entry.name);
      if (inode.is_directory()) pending.push_back(&inode);
    }
    emit({directory.attributes.mtime,
          AttributesRecord{directory.number, directory.attributes, directory.media_class}});
  }
  OrphanRecord orphans;
  for (const auto& [number, inode] : inodes_) {
    if (inode.links != 0 || inode.displaced_by != 0) continue;
    std::ranges::copy(inode.objects(), std::back_inserter(orphans.objects));
  }
  if (!orphans.objects.empty()) emit({0, std::move(orphans)});
}

}  // namespace mpool::names

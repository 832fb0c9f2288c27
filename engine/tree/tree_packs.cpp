// What a tree has in packs (engine/tree/records.md, "Packs").
#include <algorithm>
#include <cerrno>

#include "engine/base/error.h"
#include "engine/tree/footprint.h"
#include "engine/tree/tree.h"

namespace mpool::names {
namespace {

// The objects of the extents for which `wanted`, without duplicates.
template <typename Wanted>
std::vector<ObjectId> objects_of(const Inode& inode, Wanted wanted) {
  std::vector<ObjectId> objects;
  if (!inode.extents) return objects;
  for (const Extent& extent : *inode.extents) {
    if (wanted(extent)) objects.push_back(extent.object);
  }
  std::ranges::sort(objects);
  const auto repeated = std::ranges::unique(objects);
  objects.erase(repeated.begin(), repeated.end());
  return objects;
}

}  // namespace

void refuse_inode_record(const char* record, InodeNumber inode, std::string_view detail) {
  raise(ENOTRECOVERABLE, "namespace", "{} record: inode {} {}", record, inode, detail);
}

bool Inode::is_in_pack() const {
  return kind == FileKind::write_once && extents && std::ranges::any_of(*extents, is_packed);
}

std::vector<ObjectId> Inode::objects() const {
  return objects_of(*this, [this](const Extent& extent) {
    return kind != FileKind::write_once || !is_packed(extent);
  });
}

std::vector<ObjectId> Inode::packs() const {
  return objects_of(*this, [this](const Extent& extent) {
    return kind == FileKind::write_once && is_packed(extent);
  });
}

void Tree::remove_pack(ObjectId pack) {
  if (!packs_.contains(pack)) return;
  drop_footprint(footprint_of_pack());
  packs_.remove_pack(pack);
}

void Tree::check_packs(const char* record, InodeNumber inode, FileKind kind,
                       const std::vector<Extent>& extents) const {
  if (kind != FileKind::write_once) return;
  for (const Extent& extent : extents) {
    if (!is_packed(extent) || packs_.contains(extent.object)) continue;
    refuse_inode_record(record, inode,
                        "would be in mlog " + extent.object.to_string() + ", which is no pack");
  }
}

void Tree::set_content(Inode& inode, FileKind kind, std::vector<Extent> extents) {
  const Extents before = inode.is_in_pack() ? inode.extents : nullptr;
  inode.kind = kind;
  inode.set_extents(std::move(extents));
  if (inode.is_in_pack()) {
    for (const Extent& extent : *inode.extents) {
      if (is_packed(extent)) packs_.add(extent.object, extent.position, extent.length);
    }
  }
  if (!before) return;
  for (const Extent& extent : *before) {
    if (is_packed(extent)) packs_.drop(extent.object, extent.length);
  }
}

InodeNumber Tree::apply_body(const PackRecord& record, Nanoseconds) {
  if (packs_.contains(record.object)) {
    raise(ENOTRECOVERABLE, "namespace", "PACK record: object {} is a pack already",
          record.object.to_string());
  }
  packs_.add_pack(record.object);
  add_footprint(footprint_of_pack());
  return 0;
}

// The times stay as they are: the content is the same.
InodeNumber Tree::apply_body(const MoveRecord& record, Nanoseconds) {
  Inode& inode = require(record.inode, "MOVE");
  check_packs("MOVE", record.inode, FileKind::write_once, record.extents);
  std::vector<Extent> extents;
  if (inode.is_in_pack()) extents = *inode.extents;
  for (const Extent& moved : record.extents) {
    const auto same = std::ranges::find_if(extents, [&](const Extent& extent) {
      return is_packed(extent) && extent.file_offset == moved.file_offset &&
             extent.length == moved.length;
    });
    if (same == extents.end()) refuse_inode_record("MOVE", record.inode, "has no such extent");
    *same = moved;
  }
  set_content(inode, inode.kind, std::move(extents));
  return 0;
}

}  // namespace mpool::names

// The named tree in memory: inodes and directories, changed by applying records.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/refs/pack_account.h"
#include "engine/tree/attributes.h"
#include "engine/tree/records.h"

namespace mpool::names {

class ActiveInode;

// The entries of one directory: by name, and in order of creation (a stable reading order that
// follows the order of the data on the device). Not thread-safe.
class Directory {
 public:
  // Cookies below this are reserved for the caller ("." and "..").
  static constexpr std::uint64_t kFirstPosition = 3;

  struct Entry {
    std::string name;
    InodeNumber inode = 0;
  };

  InodeNumber find(std::string_view name) const;          // 0: no such name
  void insert(std::string_view name, InodeNumber inode);  // the name must be free
  void erase(std::string_view name);                      // the name must exist
  // the name must exist; its position stays
  void replace(std::string_view name, InodeNumber inode);
  bool empty() const { return by_position_.empty(); }
  std::size_t size() const { return by_position_.size(); }
  // The entries in order, by position; an entry's position is its cookie.
  const std::map<std::uint64_t, Entry>& entries() const { return by_position_; }

 private:
  std::map<std::uint64_t, Entry> by_position_;
  std::unordered_map<std::string_view, std::uint64_t> by_name_;  // views into by_position_
  std::uint64_t next_position_ = kFirstPosition;
};

using Extents = std::shared_ptr<const std::vector<Extent>>;

struct Inode {
  InodeNumber number = 0;
  InodeAttributes attributes;
  FileKind kind = FileKind::empty;
  // of its content; of a directory: of files created in it
  MediaClass media_class = MediaClass::capacity;
  Choice choice = Choice::none;
  // Three independent facts, not one state: each changes without the others.
  bool recorded = true;  // its CREATE record was handed to the journal
  bool size_exact = false;
  bool counted = false;  // in Tree::footprint()
  // Not recorded: the recorded inode that has this inode's name on the media until then (0: none).
  InodeNumber displaces = 0;
  std::uint32_t links = 0;
  // number of its names that exist on the media only: inodes that displace it
  std::uint32_t displaced_by = 0;
  // Of a log: a lower bound of the durable bytes; exact with size_exact, while it is not open. Of a
  // special file: Attributes::device.
  std::uint64_t size = 0;
  InodeNumber parent = 0;        // directories only
  Extents extents;               // write-once files and logs; null: none
  std::size_t object_count = 0;  // number of objects()
  std::unique_ptr<Directory> directory;
  std::unique_ptr<std::string> target;  // symlinks
  std::unique_ptr<std::map<std::string, std::string>> xattrs;
  std::shared_ptr<ActiveInode> open;  // while the inode is open
  // See Namespace::ref(). Increased with the tree's lock shared; also decreased with it shared,
  // while the inode has a name.
  std::atomic<std::uint64_t> references = 0;

  // Its changes must be recorded: on the media it has a name, or may get one back.
  bool on_media() const { return recorded && (links > 0 || displaced_by > 0); }
  bool is_directory() const { return kind == FileKind::directory; }
  bool is_regular() const { return mpool::is_regular(kind); }
  // The objects that hold its content and no other, without duplicates.
  std::vector<ObjectId> objects() const;
  // The packs that hold its content, without duplicates; and whether there is any.
  std::vector<ObjectId> packs() const;
  bool is_in_pack() const;
  void set_extents(std::vector<Extent> next);
};

// The record that creates the inode under that name, with its present content.
CreateRecord create_record(const Inode& inode, InodeNumber parent, const std::string& name);
// True if the record makes a write-once file shorter: its extents are then cut.
bool cuts(const ContentRecord& record, const Inode& inode);
// Throws ENOTRECOVERABLE: "<record> record: inode N <detail>".
[[noreturn]] void refuse_inode_record(const char* record, InodeNumber inode,
                                      std::string_view detail);
// The objects of `before` that do not belong to the inode.
std::vector<ObjectId> missing_objects(const std::vector<ObjectId>& before, const Inode& inode);

// Not thread-safe: Namespace guards it.
class Tree {
 public:
  // An empty tree, without the root, which a record creates.
  Tree() = default;

  Inode* find(InodeNumber number);           // null: none
  Inode& get(InodeNumber number);            // ESTALE when there is none
  Inode& get_directory(InodeNumber number);  // ENOTDIR
  void erase(InodeNumber number);

  // Applies the record to the tree. Returns the inode that lost its last name, or 0; the inode
  // itself stays until erase(). Throws Error ENOTRECOVERABLE, with the tree unchanged, when the
  // record does not fit the tree (OWNER, BATCH and ROLLBACK do not belong here).
  InodeNumber apply(const Record& record);

  // Adds the inode of the record without its name, and not recorded. A LINK gives it a name.
  Inode& add_unnamed(const CreateRecord& record);

  // True when `inode` is `ancestor` or lies below it.
  bool is_below(InodeNumber inode, InodeNumber ancestor);

  // A path of the inode, or "inode N" where it has none. Searches all names: for messages.
  std::string path_of(InodeNumber inode) const;

  // Calls `emit` with the records that create this tree: directories before their content. Omits
  // inodes that are not recorded.
  void snapshot(const std::function<void(const Record&)>& emit) const;

  // Removes a name that no record brought to the media.
  void drop_entry(Inode& directory, std::string_view name);

  // Approximate bytes of the tree in a compacted log: of inodes that have a name, also before they
  // are recorded (footprint.h). May be called by any thread at any time.
  std::uint64_t footprint() const { return footprint_.load(std::memory_order_relaxed); }

  const std::unordered_map<InodeNumber, Inode>& inodes() const { return inodes_; }
  // Greater than every inode number in a record applied; at most kMaxInode.
  InodeNumber next_inode() const { return next_inode_; }
  // Marks all sizes of logs exact, except those of `inexact`.
  void set_exact_sizes(const std::vector<InodeNumber>& inexact);
  void raise_next_inode(InodeNumber next) {
    next_inode_ = std::min(std::max(next_inode_, next), kMaxInode);
  }
  InodeNumber take_inode_number();  // ENOSPC when all are used up

  // The packs of PACK records, and what they hold.
  const PackAccount& packs() const { return packs_; }
  PackAccount& packs() { return packs_; }
  // The pack, which no file uses, is no pack of the tree any more.
  void remove_pack(ObjectId pack);

 private:
  InodeNumber apply_body(const CreateRecord& record, Nanoseconds when);
  InodeNumber apply_body(const ContentRecord& record, Nanoseconds when);
  InodeNumber apply_body(const AttributesRecord& record, Nanoseconds when);
  InodeNumber apply_body(const LinkRecord& record, Nanoseconds when);
  InodeNumber apply_body(const UnlinkRecord& record, Nanoseconds when);
  InodeNumber apply_body(const RenameRecord& record, Nanoseconds when);
  InodeNumber apply_body(const XattrRecord& record, Nanoseconds when);
  InodeNumber apply_body(const PackRecord& record, Nanoseconds when);
  InodeNumber apply_body(const MoveRecord& record, Nanoseconds when);

  void check_packs(const char* record, InodeNumber inode, FileKind kind,
                   const std::vector<Extent>& extents) const;
  // Replaces kind and extents of an inode, and counts what is in packs.
  void set_content(Inode& inode, FileKind kind, std::vector<Extent> extents);
  Inode& add_inode(const CreateRecord& record);
  // Gives `name` in `parent` to `inode`, replacing any present entry; returns the inode that lost
  // its last name, or 0.
  InodeNumber enter(Inode& parent, std::string_view name, Inode& inode, Nanoseconds when);
  InodeNumber drop_name(Inode& parent, Inode& inode, Nanoseconds when);
  void set_xattr(Inode& inode, const std::string& name, const std::string& value);
  void drop_xattr(Inode& inode, const std::string& name);
  void count(Inode& inode);
  void stop_counting(Inode& inode);
  void add_footprint(std::uint64_t bytes) {
    footprint_.fetch_add(bytes, std::memory_order_relaxed);
  }
  void drop_footprint(std::uint64_t bytes) {
    footprint_.fetch_sub(bytes, std::memory_order_relaxed);
  }
  Inode& require(InodeNumber number, const char* record);
  Inode& require_directory(InodeNumber number, const char* record);

  std::unordered_map<InodeNumber, Inode> inodes_;
  InodeNumber next_inode_ = kRootInode + 1;
  std::atomic<std::uint64_t> footprint_ = 0;
  PackAccount packs_;
};

}  // namespace mpool::names

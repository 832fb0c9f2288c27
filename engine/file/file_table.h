// Open files: handles, opening, and reading of committed content (engine/file/README.md, "Open
// files").
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "engine/file/active_inode.h"
#include "engine/file/active_inodes.h"
#include "engine/file/file_committer.h"
#include "engine/file/layout.h"
#include "engine/file/log_files.h"
#include "engine/file/object_allocator.h"
#include "engine/file/open_file.h"
#include "engine/tree/recorded_tree.h"

namespace mpool::names {

// Threads: all functions may be called at the same time.
class FileTable {
 public:
  FileTable(RecordedTree& tree, LogFiles& logs, ActiveInodes& inodes, FileCommitter& committer,
            ObjectAllocator& allocator, Packs& packs)
      : tree_(tree),
        pool_(tree.pool()),
        logs_(logs),
        inodes_(inodes),
        committer_(committer),
        allocator_(allocator),
        packs_(packs) {}

  std::unique_ptr<OpenFile> open(InodeNumber inode, const OpenIntent& intent, Blocking blocking);
  std::optional<CreatedFile> create(InodeNumber parent, std::string_view name, std::uint32_t mode,
                                    mpool::Owner owner, const OpenIntent& intent,
                                    Blocking blocking);
  CreatedFile create_unnamed(InodeNumber directory, std::uint32_t mode, mpool::Owner owner,
                             const OpenIntent& intent);
  std::optional<FileLayout> layout(InodeNumber inode);

 private:
  class FileHandle;

  std::unique_ptr<OpenFile> try_open_reader(InodeNumber inode, const OpenIntent& intent);
  std::unique_ptr<OpenFile> open_locked(Inode& inode, const OpenIntent& intent,
                                        Journal::Ticket& ticket);
  CreatedFile create_locked(ChangeLock& lock, InodeNumber parent, std::string_view name,
                            std::uint32_t mode, mpool::Owner owner, const OpenIntent& intent);

  // content_reads.cpp
  std::size_t read_content(InodeNumber inode, ActiveInode& state, std::uint64_t offset,
                           ByteSpan into);
  bool plan_content(InodeNumber inode, ActiveInode& state, std::uint64_t offset, std::size_t length,
                    ByteSpan memory, ReadPlan& plan);
  std::unique_ptr<const ReadMap> make_read_map(const Inode& inode);
  ReadMap::Piece make_piece(const Extent& extent, const ObjectRecord& mblock) const;
  ReadMap::Piece make_packed_piece(const Extent& extent, const ObjectRecord& pack) const;
  // The map of a file that can no longer change; null for other files. First writes out content
  // that is in memory only.
  const ReadMap* need_read_map(InodeNumber inode, ActiveInode& state);
  std::size_t read_mapped(const ReadMap& map, std::uint64_t offset, ByteSpan into) const;
  std::optional<std::uint64_t> seek(InodeNumber inode, ActiveInode& state, std::uint64_t offset,
                                    SeekFor what);
  // fsync of a read-only handle: changes of the file by other handles are durable on return.
  void sync_others(InodeNumber inode, ActiveInode& state);

  RecordedTree& tree_;
  Pool& pool_;
  LogFiles& logs_;
  ActiveInodes& inodes_;
  FileCommitter& committer_;
  ObjectAllocator& allocator_;
  Packs& packs_;
};

}  // namespace mpool::names

// The tree of the control directory `.mpool` in the root of every mount (fuse/control/README.md):
// found by name, never listed there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/names/names.h"

namespace mpoolfs {

inline constexpr std::string_view kControlName = ".mpool";

// A read-only directory of files whose content is made when they are opened.
//
// Its inode numbers have the top bit set. The engine counts inodes up from 1 and never gets there:
// a billion creations a second would take it 292 years.
//
// Files show size 0, as those of /proc do: how long the content will be is known at open only. They
// are to be read with direct I/O, which does not ask for the size.
//
// Threads: all functions but add_file() may be called at the same time. Only open() may wait, for
// what the content is made of. Errors: Error with errno.
class ControlTree {
 public:
  // Makes the content of a file; called by open() on its thread, also by several at a time.
  using Generator = std::function<std::string()>;

  static constexpr mpool::InodeNumber kDirectory = mpool::InodeNumber{1} << 63;

  // The inode belongs to a control tree, whether it exists or not.
  static constexpr bool is_control(mpool::InodeNumber inode) { return (inode & kDirectory) != 0; }
  // The name is one that this tree decides about: the directory itself, and all names in it.
  static constexpr bool is_control_name(mpool::InodeNumber parent, std::string_view name) {
    return is_control(parent) || (parent == mpool::kRootInode && name == kControlName);
  }

  // `now`: all times of its inodes.
  explicit ControlTree(const std::timespec& now) : now_(now) {}

  // Before the first request. Names are unique; a file's inode number follows from its place.
  void add_file(std::string name, Generator generate);

  // For names of is_control_name(), and "." of the directory. nullopt: there is no such name.
  // ENOTDIR when the parent is a file.
  std::optional<mpool::Attributes> lookup(mpool::InodeNumber parent, std::string_view name) const;
  mpool::Attributes attributes(mpool::InodeNumber inode) const;  // ESTALE: no such inode

  // Calls `take` with the entries of the directory after `cookie` (0: from the start), "." and ".."
  // not among them, until it returns false. ENOTDIR when `inode` is a file.
  void read_directory(mpool::InodeNumber inode, std::uint64_t cookie,
                      const std::function<bool(const mpool::DirectoryEntry&)>& take) const;

  // Names an open file; never 0, never used again.
  using HandleNumber = std::uint64_t;
  // Makes the content, which the handle keeps. EISDIR for the directory, EACCES unless `intent` is
  // reading only, those of the generator.
  HandleNumber open(mpool::InodeNumber inode, const mpool::OpenIntent& intent);
  // EBADF: no such handle.
  std::shared_ptr<const std::string> content(HandleNumber handle) const;
  void close(HandleNumber handle) noexcept;
  std::size_t open_count() const;

 private:
  struct File {
    std::string name;
    Generator generate;
  };

  static mpool::InodeNumber inode_of(std::size_t index) { return kDirectory + 1 + index; }
  // nullptr for the directory; ESTALE when there is no such inode.
  const File* find(mpool::InodeNumber inode) const;
  void check_directory(mpool::InodeNumber inode) const;

  const std::timespec now_;
  std::vector<File> files_;

  mutable std::mutex mutex_;
  HandleNumber next_handle_ = 1;
  std::unordered_map<HandleNumber, std::shared_ptr<const std::string>> contents_;
};

// The part of `content` that a read of `size` bytes at `offset` gets; empty from the end on.
std::string_view part_of(std::string_view content, std::uint64_t offset, std::size_t size);

}  // namespace mpoolfs

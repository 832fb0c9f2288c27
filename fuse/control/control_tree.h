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

// A read-only directory of files whose content is generated at open.
//
// Its inode numbers have the top bit set. The engine counts inodes up from 1 and never reaches that
// bit: at a billion creations a second it would take 292 years.
//
// Files have size 0, like those of /proc: the length of the content is known at open only. They
// must be read with direct I/O, which does not use the size.
//
// Threads: all functions except add_file() may be called at the same time. Only open() may block,
// on the sources of the content. Errors: Error with errno.
class ControlTree {
 public:
  // Generates the content of a file. Called by open() on its thread, also by several threads at a
  // time.
  using Generator = std::function<std::string()>;

  static constexpr mpool::InodeNumber kDirectory = mpool::InodeNumber{1} << 63;

  // True if the inode number belongs to a control tree, whether the inode exists or not.
  static constexpr bool is_control(mpool::InodeNumber inode) { return (inode & kDirectory) != 0; }
  // True if this tree resolves the name: the directory itself, and all names in it.
  static constexpr bool is_control_name(mpool::InodeNumber parent, std::string_view name) {
    return is_control(parent) || (parent == mpool::kRootInode && name == kControlName);
  }

  // `now`: all times of its inodes.
  explicit ControlTree(const std::timespec& now) : now_(now) {}

  // Called before the first request. Names are unique; the inode number of a file follows from its
  // position.
  void add_file(std::string name, Generator generate);

  // For names of is_control_name(), and "." of the directory. nullopt: no such name. ENOTDIR when
  // the parent is a file.
  std::optional<mpool::Attributes> lookup(mpool::InodeNumber parent, std::string_view name) const;
  mpool::Attributes attributes(mpool::InodeNumber inode) const;  // ESTALE: no such inode

  // Calls `take` with the entries of the directory after `cookie` (0: from the start), without "."
  // and "..", until it returns false. ENOTDIR when `inode` is a file.
  void read_directory(mpool::InodeNumber inode, std::uint64_t cookie,
                      const std::function<bool(const mpool::DirectoryEntry&)>& take) const;

  // Identifies an open file; never 0, never reused.
  using HandleNumber = std::uint64_t;
  // Generates the content, which the handle keeps. EISDIR for the directory, EACCES unless `intent`
  // is read-only, errors of the generator.
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

// The part of `content` for a read of `size` bytes at `offset`; empty at and after the end.
std::string_view part_of(std::string_view content, std::uint64_t offset, std::size_t size);

}  // namespace mpoolfs

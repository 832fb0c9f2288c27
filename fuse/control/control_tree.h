// The tree of the control directory `.mpool` in the root of every mount (fuse/control/README.md):
// found by name, never listed there.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/names/namespace.h"
#include "fuse/control/provider.h"

namespace mpoolfs {

inline constexpr std::string_view kControlName = ".mpool";

// A directory of providers. All requests for it and for what is below come here, without their
// messages.
//
// Its inode numbers have the top bit set. The engine counts inodes up from 1 and never reaches that
// bit: at a billion creations a second it would take 292 years. The next 7 bits are the number of
// the provider, from 1; the others its node.
//
// Files are read with direct I/O, which does not use the size, unless they tell otherwise
// (ControlFile::caching()).
//
// Threads: all functions except add() may be called at the same time; they may block as the
// provider does. Errors: Error with errno, those of the provider included.
class ControlTree {
 public:
  static constexpr mpool::InodeNumber kDirectory = mpool::InodeNumber{1} << 63;

  // True if the inode number belongs to a control tree, whether the inode exists or not.
  static constexpr bool is_control(mpool::InodeNumber inode) { return (inode & kDirectory) != 0; }
  // True if this tree resolves the name: the directory itself, and all names in it.
  static constexpr bool is_control_name(mpool::InodeNumber parent, std::string_view name) {
    return is_control(parent) || (parent == mpool::kRootInode && name == kControlName);
  }
  // True for `.mpool` and the names in it: these stay as long as the mount, with their attributes,
  // except for the time of a directory in it. All others may come, go and change at any time.
  static constexpr bool is_permanent(mpool::InodeNumber inode) { return node_of(inode) == 0; }
  // The directory that has the inode; that of `.mpool` is the root of the mount.
  static constexpr mpool::InodeNumber parent_of(mpool::InodeNumber inode) {
    if (inode == kDirectory) return mpool::kRootInode;
    return node_of(inode) == 0 ? kDirectory : inode - node_of(inode);
  }

  // `now`: all times of its inodes, except those of directories that change. The clock must outlive
  // it.
  explicit ControlTree(const std::timespec& now, const mpool::Clock& clock = mpool::system_clock())
      : clock_(clock), now_(now) {}

  // Called before the first request, at most kMaxProviders times. Names are unique; the inode
  // numbers follow from the order.
  static constexpr std::size_t kMaxProviders = 127;
  // Returns its inode, from which those of the nodes follow by addition.
  mpool::InodeNumber add(std::string name, std::unique_ptr<ControlProvider> provider);

  // For names of is_control_name(), and "." and ".." below the root. nullopt: no such name. ENOTDIR
  // when the parent is a file.
  std::optional<mpool::Attributes> lookup(mpool::InodeNumber parent, std::string_view name) const;
  mpool::Attributes attributes(mpool::InodeNumber inode) const;  // ESTALE: no such inode

  // Calls `take` with the entries of the directory after `cookie` (0: from the start), without "."
  // and "..", until it returns false. ENOTDIR when `inode` is a file.
  void read_directory(mpool::InodeNumber inode, std::uint64_t cookie,
                      const std::function<bool(const mpool::DirectoryEntry&)>& take) const;

  // ENOENT; EPERM for what cannot be removed.
  void remove(mpool::InodeNumber parent, std::string_view name) const;

  // Identifies an open file; never 0, never reused.
  using HandleNumber = std::uint64_t;
  // EISDIR for a directory, EACCES for an access that the mode allows to no user.
  HandleNumber open(mpool::InodeNumber inode, const mpool::OpenIntent& intent,
                    const Caller& caller = {});
  OpenReply reply(HandleNumber handle) const;  // what the kernel is told; EBADF: no such handle
  // EBADF: no such handle.
  std::string read(HandleNumber handle, std::uint64_t offset, std::size_t size) const;
  void write(HandleNumber handle, std::uint64_t offset, mpool::ConstByteSpan data) const;
  // EINVAL when the sizes are not those of the command; out_size: of the caller's memory.
  std::vector<std::byte> ioctl(HandleNumber handle, unsigned command, mpool::ConstByteSpan in,
                               std::size_t out_size) const;
  void flush(HandleNumber handle) const;
  void close(HandleNumber handle) noexcept;
  // Never blocks: a close() is on its way.
  void begin_close(HandleNumber handle) noexcept;
  // Returns when all files are closed whose last close(2) has returned. Blocks; `callback`, called
  // by it, returns when a begin_close() was made for them.
  void settle();
  void on_settle(std::function<void()> callback);
  std::size_t open_count() const;

 private:
  static constexpr unsigned kNodeBits = 56;
  struct Entry {
    std::string name;
    std::unique_ptr<ControlProvider> provider;
  };
  // An inode; without a provider it is `.mpool`.
  struct Target {
    ControlProvider* provider = nullptr;
    ControlProvider::Node node = ControlProvider::kSelf;
    ControlProvider::Info info{};
  };

  static constexpr ControlProvider::Node node_of(mpool::InodeNumber inode) {
    return inode & ((mpool::InodeNumber{1} << kNodeBits) - 1);
  }
  static mpool::InodeNumber inode_of(std::size_t index) {
    return kDirectory | mpool::InodeNumber{index + 1} << kNodeBits;
  }
  Target find(mpool::InodeNumber inode) const;            // ESTALE
  Target find_directory(mpool::InodeNumber inode) const;  // or ENOTDIR
  std::shared_ptr<ControlFile> file(HandleNumber handle) const;

  const mpool::Clock& clock_;
  const std::timespec now_;
  std::vector<Entry> entries_;

  mutable std::mutex mutex_;  // a leaf; guards the following, without on_settle_
  HandleNumber next_handle_ = 1;
  std::unordered_map<HandleNumber, std::shared_ptr<ControlFile>> files_;
  std::set<HandleNumber> closing_;
  std::condition_variable closed_;
  std::mutex settle_mutex_;  // held during its callback; taken before mutex_
  std::function<void()> on_settle_;
};

}  // namespace mpoolfs

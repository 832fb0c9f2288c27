// Which open files the kernel reads by itself: FUSE passthrough to files of views.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "engine/device/file_descriptor.h"
#include "engine/names/names.h"
#include "fuse/view/view_set.h"

namespace mpoolfs {

// 0 when nobody else has the file of a view open or mapped (a mapping keeps it open), EAGAIN when
// somebody has, or why that cannot be told. The process ignores SIGIO.
int try_alone(int fd);

// The kernel takes either the same backing file for all opens of an inode at a time, or none. So
// every open is counted here: what the first one gets the others get, too, until the last is
// released.
//
// A mapping of a backing file outlives the release of the file it was made from. As long as anybody
// has the backing file open or mapped, a handle of the engine keeps the inode's objects, and with
// them the zones, from being deleted; sweep() finds out. A backing file that was let go of is kept
// for a moment, too, for who opens it again.
//
// Threads: all functions may be called at the same time.
class BackingFiles {
 public:
  // Both outlive it. `fuse`: the mount's descriptor of /dev/fuse, open as long as this.
  BackingFiles(mpool::Namespace& names, const ViewSet& views, int fuse);
  // The mount is gone, or going: lets go of all. When somebody still uses one, deletes are held
  // from then on.
  ~BackingFiles();

  // An inode is being opened; to be followed by one leave(). `committed`: for reading, its content
  // committed. Returns the backing id for the answer, or 0: we serve it.
  std::uint32_t enter(mpool::InodeNumber inode, bool committed);
  // The same without waiting; nullopt, and nothing entered, where a backing file has to be opened.
  std::optional<std::uint32_t> enter_now(mpool::InodeNumber inode, bool committed);
  // It was released, or not opened after all.
  void leave(mpool::InodeNumber inode);

  // Lets go of the backing files that nobody uses any more; those of files without a name are
  // deleted by it. May wait for the journal's gate. Returns how many are left that only a sweep
  // will find free.
  std::size_t sweep();

  struct Counts {
    std::uint64_t native = 0;  // opens so far that got a backing file
    std::uint64_t served = 0;  // opens so far of committed files for reading that got none
    std::size_t kept = 0;      // backing files at the moment
  };
  Counts counts() const;

  // Called, under a lock, when the next sweep() has something to do.
  void on_idle(std::function<void()> callback) { idle_ = std::move(callback); }

 private:
  struct Entry {
    unsigned opens = 0;
    std::uint32_t id = 0;  // 0: served; then nothing of what follows
    std::shared_ptr<const View> view;
    mpool::FileDescriptor file;
    std::unique_ptr<mpool::OpenFile> pin;
  };

  std::uint32_t count(Entry& entry, bool committed);
  void make_native(Entry& entry, mpool::InodeNumber inode);
  static bool is_used_by_others(const Entry& entry);
  void unregister(std::uint32_t id) const noexcept;

  mpool::Namespace& names_;
  const ViewSet& views_;
  const int fuse_;
  std::function<void()> idle_;
  mutable std::mutex mutex_;
  std::unordered_map<mpool::InodeNumber, Entry> entries_;
  std::size_t idle_entries_ = 0;  // with a backing file, without opens
  bool told_idle_ = false;        // since the last sweep
  std::uint64_t native_ = 0;
  std::uint64_t served_ = 0;
};

}  // namespace mpoolfs

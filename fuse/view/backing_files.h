// Which open files the kernel reads by itself: FUSE passthrough to files of views.
#pragma once

#include <atomic>
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

class BackingFiles;

// The open of an inode that is being answered, entered in BackingFiles. Unless it is kept it ends
// as not made: left, and not counted.
//
// Threads: one at a time.
class NativeEntry {
 public:
  // Entered nowhere: we serve the file.
  NativeEntry() = default;
  // Of BackingFiles::enter().
  NativeEntry(BackingFiles& files, mpool::InodeNumber inode, std::uint32_t backing_id,
              bool committed) noexcept
      : files_(&files), inode_(inode), backing_id_(backing_id), committed_(committed) {}
  ~NativeEntry();
  NativeEntry(const NativeEntry&) = delete;
  NativeEntry& operator=(const NativeEntry&) = delete;

  // For the answer; 0: we serve the file.
  std::uint32_t backing_id() const noexcept { return backing_id_; }
  // Counts the open: just before the answer, as who gets it may look at the counts at once.
  void count() noexcept;
  // The kernel has the file: BackingFiles::leave() is for the release.
  void keep() noexcept { files_ = nullptr; }

 private:
  BackingFiles* files_ = nullptr;
  mpool::InodeNumber inode_ = 0;
  std::uint32_t backing_id_ = 0;
  bool committed_ = false;
  std::atomic<std::uint64_t>* counted_ = nullptr;
};

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

  // An inode is being opened. `committed`: for reading, its content committed.
  NativeEntry enter(mpool::InodeNumber inode, bool committed);
  // The same for reading, without waiting, while it is not known whether the content is committed.
  // When it is not, the entry must be neither counted nor kept; it has no backing file then, as
  // views show nothing else. Nullopt, and nothing entered, where a backing file has to be opened.
  std::optional<NativeEntry> enter_now(mpool::InodeNumber inode);
  // An inode whose entry was kept was released.
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
  friend class NativeEntry;

  struct Entry {
    unsigned opens = 0;
    std::uint32_t id = 0;  // 0: served; then nothing of what follows
    std::shared_ptr<const View> view;
    mpool::FileDescriptor file;
    std::unique_ptr<mpool::OpenFile> pin;
  };

  void note_open(Entry& entry);
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
  std::atomic<std::uint64_t> native_ = 0;
  std::atomic<std::uint64_t> served_ = 0;
};

}  // namespace mpoolfs

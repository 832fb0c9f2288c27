// Open files that the kernel reads natively: FUSE passthrough to files of views.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include "engine/base/logger.h"
#include "engine/io/file_descriptor.h"
#include "engine/names/namespace.h"
#include "fuse/native/cached_files.h"
#include "fuse/native/map_views.h"
#include "fuse/native/view_set.h"

namespace mpoolfs {

// 0 when no other process has the file of a view open or mapped (a mapping keeps it open), EAGAIN
// when one has, or the errno that prevents the check. The process ignores SIGIO.
int try_alone(int fd);

class BackingFiles;

// The open of an inode in BackingFiles while the open is being answered. Unless kept, it is undone:
// left, and not counted.
//
// Threads: one at a time.
class NativeEntry {
 public:
  // Not entered: the daemon serves the file.
  NativeEntry() = default;
  // Of BackingFiles::enter().
  NativeEntry(BackingFiles& files, mpool::InodeNumber inode, std::uint32_t backing_id,
              bool committed) noexcept
      : files_(&files), inode_(inode), backing_id_(backing_id), committed_(committed) {}
  ~NativeEntry();
  NativeEntry(NativeEntry&& other) noexcept
      : files_(std::exchange(other.files_, nullptr)),
        inode_(other.inode_),
        backing_id_(other.backing_id_),
        committed_(other.committed_),
        counted_(other.counted_) {}
  NativeEntry& operator=(NativeEntry&&) = delete;

  // For the answer; 0: the daemon serves the file.
  std::uint32_t backing_id() const noexcept { return backing_id_; }
  // Counts the open. Called just before the answer, since its receiver may read the counts at once.
  void count() noexcept;
  // The kernel has the file: the release must call BackingFiles::leave().
  void keep() noexcept { files_ = nullptr; }

 private:
  BackingFiles* files_ = nullptr;
  mpool::InodeNumber inode_ = 0;
  std::uint32_t backing_id_ = 0;
  bool committed_ = false;
  std::atomic<std::uint64_t>* counted_ = nullptr;
};

// The kernel accepts the same backing file for all concurrent opens of an inode, or none. Therefore
// every open is counted here: later opens get the backing file of the first one until the last is
// released.
//
// A mapping of a backing file outlives the release of the file it was made from. As long as a
// process has the backing file open or mapped, a handle of the engine keeps the inode's objects,
// and with them the zones, from being deleted; sweep() checks that. A released backing file is kept
// for a moment for the next open.
//
// Threads: all functions may be called at the same time.
class BackingFiles {
 public:
  // `names` and `views` must outlive it. `fuse`: the mount's descriptor of /dev/fuse, open during
  // its lifetime. `cached`: where native files are tracked; may be null.
  BackingFiles(mpool::Namespace& names, const ViewSet& views, int fuse,
               CachedFiles* cached = nullptr, mpool::Logger logger = {});
  // The mount has ended, or is ending: releases all files. If one is still in use, deletes are held
  // from then on.
  ~BackingFiles();

  // An inode is being opened. `committed`: for reading, its content is committed.
  NativeEntry enter(mpool::InodeNumber inode, bool committed);
  // The inode of a map is being opened, by a file of a view; null: the daemon serves it. `keeper`
  // lives until no process has the file open or mapped. Such opens are not counted.
  NativeEntry enter_map(mpool::InodeNumber inode, std::shared_ptr<const MapViews::File> file,
                        std::shared_ptr<const void> keeper);
  // As enter() for reading, but non-blocking, before it is known whether the content is committed.
  // If it is not, the entry must be neither counted nor kept; it then has no backing file, because
  // views show committed files only. Returns nullopt, with nothing entered, where a backing file
  // must be opened.
  std::optional<NativeEntry> try_enter(mpool::InodeNumber inode);
  // The kernel released an inode with a kept entry.
  void leave(mpool::InodeNumber inode);
  // As sweep(), for one map. The caller keeps its file.
  void sweep_map(mpool::InodeNumber inode, const MapViews::File& file);

  // Releases unused backing files; the engine then deletes those without a name. May block on the
  // journal's change barrier. Returns the number of remaining files that only a sweep can find
  // unused.
  std::size_t sweep();

  struct Counts {
    std::uint64_t native = 0;  // opens so far with a backing file
    std::uint64_t served = 0;  // opens so far of committed files for reading without one
    std::size_t kept = 0;      // present number of backing files
  };
  Counts counts() const;

  // Called, under a lock, when the next sweep() has work.
  void on_idle(std::function<void()> callback) { idle_ = std::move(callback); }

 private:
  friend class NativeEntry;

  struct Entry {
    unsigned opens = 0;
    std::uint32_t id = 0;  // 0: served; the following members are then unused
    std::shared_ptr<const View> view;
    mpool::FileDescriptor file;
    std::unique_ptr<mpool::OpenFile> pin;         // null: of a map
    std::shared_ptr<const MapViews::File> shown;  // of a map
    std::shared_ptr<const void> keeper;           // of a map
    CachedFileHold cached;                        // of a file

    bool is_idle() const { return opens == 0 && id != 0; }
    void release() const {
      if (pin != nullptr) pin->close();
    }
  };

  void note_open(Entry& entry);
  void make_native(Entry& entry, mpool::InodeNumber inode);
  std::uint32_t register_file(int fd) const;
  static bool is_used_by_others(const Entry& entry);
  void unregister(std::uint32_t id) const noexcept;

  mpool::Namespace& names_;
  const mpool::Logger logger_;
  const ViewSet& views_;
  const int fuse_;
  CachedFiles* const cached_;
  std::function<void()> idle_;
  mutable std::mutex mutex_;
  std::unordered_map<mpool::InodeNumber, Entry> entries_;
  std::size_t idle_entries_ = 0;  // entries with a backing file, without opens
  bool told_idle_ = false;        // notified since the last sweep
  std::atomic<std::uint64_t> native_ = 0;
  std::atomic<std::uint64_t> served_ = 0;
};

}  // namespace mpoolfs

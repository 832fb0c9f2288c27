// Kernel-native reads: committed files that the kernel reads from the pool's devices by itself
// (mpoolfs(8), "NATIVE READS").
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "engine/base/tunables.h"
#include "engine/names/namespace.h"
#include "engine/pool/pool.h"
#include "fuse/native/backing_files.h"
#include "fuse/native/cached_files.h"
#include "fuse/native/map_views.h"
#include "fuse/native/native_stats.h"
#include "fuse/native/reader_watch.h"
#include "fuse/native/view.h"
#include "fuse/native/view_devices.h"
#include "fuse/native/view_set.h"
#include "fuse/options.h"

namespace mpoolfs {

// The first open of a file that was committed since the last view makes a view of all such files:
// files that are never read cost nothing. One thread makes views of many files before one is
// opened, drops views whose files are deleted, and releases files that are no longer read.
//
// Readers of an earlier daemon that was killed may still exist, and read zones that it kept for
// them. While there are any, no object is deleted (NamespaceOptions::hold_deletes) and no views are
// made: otherwise the end of these readers could not be detected.
//
// Threads: all functions except prepare(), start() and stop() may be called at the same time.
class NativeReads {
 public:
  // `other_readers`: the result of ViewDevices::has_other_readers() before the namespace was
  // mounted, which was then told to hold deletes. `watch`: gets the devices that are read natively.
  // The references must outlive this. map_read_ahead: bytes. Tries to make a view; throws Error
  // when that fails and `choice` is on.
  NativeReads(const mpool::Pool& pool, mpool::Namespace& names, ViewDevices devices,
              NativeChoice choice, bool other_readers, ReaderWatch& watch, mpool::Reaper& reaper,
              std::uint64_t map_read_ahead);
  ~NativeReads();
  NativeReads(const NativeReads&) = delete;
  NativeReads& operator=(const NativeReads&) = delete;

  // Whether FUSE passthrough should be requested.
  bool wanted() const { return !off_; }

  // Called before the first request: all opens are counted from then on. `fuse`: the mount's
  // descriptor of /dev/fuse.
  void prepare(int fuse);
  // Called when the mount exists, and may be in use. `passthrough`: the kernel has accepted it;
  // Error ENOTSUP when it has not and the choice is on. Makes the first view, of all committed
  // files.
  void start(bool passthrough);
  // Called before the descriptor is closed; no entries are made afterwards.
  void stop();

  // As the functions of BackingFiles, for every file that is opened.
  NativeEntry enter(mpool::InodeNumber inode, bool committed);
  std::optional<NativeEntry> try_enter(mpool::InodeNumber inode);
  void leave(mpool::InodeNumber inode);

  // A map as a file of a view; null where that is not possible.
  std::shared_ptr<const MapViews::File> show_map(const mpool::FileLayout& layout);
  // As BackingFiles::enter_map(); leave() ends it.
  NativeEntry enter_map(mpool::InodeNumber inode, std::shared_ptr<const MapViews::File> file,
                        std::shared_ptr<const void> keeper);
  // As BackingFiles::sweep_map().
  void sweep_map(mpool::InodeNumber inode, const MapViews::File& file) {
    if (files_) files_->sweep_map(inode, file);
  }
  // Greatest read-ahead, in bytes, of native files that are opened from now on.
  void set_read_ahead(std::size_t bytes) { views_.set_read_ahead(bytes, logger_); }

  // As CachedFiles::set_advice().
  void set_advice(mpool::InodeNumber inode, mpool::Advice advice) {
    cached_.set_advice(inode, advice);
  }

  NativeStats stats() const;

 private:
  // Events of the engine about files. Shared with its callbacks, which may arrive after the end of
  // this object.
  struct Queue {
    Queue(std::size_t threshold, mpool::Clock& time) : pending_threshold(threshold), clock(time) {}
    void add(std::span<const mpool::InodeNumber> durable);
    void remove(mpool::InodeNumber inode);
    // `left`: a part of `tried` to be retried, after a delay.
    void tried(std::span<const mpool::InodeNumber> tried, std::span<const mpool::InodeNumber> left,
               mpool::Clock::Duration pause);
    bool is_due(mpool::InodeNumber inode);
    // Called with the mutex held:
    bool can_show() const { return clock.now() >= blocked_until; }
    bool above_pending_threshold() const;

    const std::size_t pending_threshold;
    mpool::Clock& clock;
    std::mutex mutex;
    std::condition_variable changed;
    bool collecting = false;                         // otherwise nothing is added to the next two
    std::unordered_set<mpool::InodeNumber> pending;  // committed, in no view
    std::vector<mpool::InodeNumber> removed;         // a view may show them
    std::atomic<std::size_t> pending_count = 0;      // may be read without the mutex
    mpool::Clock::Time blocked_until;                // no view is made before this time
    bool idle_files = false;
    bool stopping = false;
  };

  void turn_off(const std::string& why);
  void check_views();
  void claim_by_view();
  void run();
  bool wait_for_work();
  void wait_for_readers();
  void collect();
  void show_all();
  void show_pending();
  void show(std::vector<mpool::InodeNumber> inodes);
  void forget_removed();
  void drop_pages(std::span<const mpool::InodeNumber> removed) const;
  void sweep();

  mpool::Namespace& names_;
  const mpool::Tunables::Views tunables_;
  const mpool::Logger logger_;
  ViewDevices devices_;
  ViewSet views_;
  MapViews map_views_;
  CachedFiles cached_;
  ReaderWatch& watch_;
  std::optional<BackingFiles> files_;  // from prepare() to stop(), where native reads are wanted
  std::shared_ptr<Queue> queue_;

  const NativeChoice choice_;
  std::atomic<bool> off_ = false;
  std::atomic<bool> waiting_ = false;
  mutable std::mutex reason_mutex_;  // a leaf
  std::string reason_;

  // A view without files that keeps the pool's block devices claimed as long as views can be made.
  std::optional<View> claim_;

  std::mutex show_mutex_;  // one thread changes the views at a time; taken before the queue's
  unsigned failures_ = 0;  // consecutive failures to make a view; with show_mutex_

  // Used by the thread only:
  std::size_t swept_left_ = 0;
  std::thread thread_;
};

}  // namespace mpoolfs

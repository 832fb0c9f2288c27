// The files that the kernel holds open.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "engine/names/names.h"

namespace mpoolfs {

// One open file as the kernel knows it; its address is the file handle of requests.
class Handle {
 public:
  mpool::OpenFile& file() { return *file_; }
  bool append() const { return append_; }

 private:
  friend class OpenFiles;
  std::unique_ptr<mpool::OpenFile> file_;
  bool writes_ = false;
  bool append_ = false;
  // A descriptor was closed, nothing was written since. Changed under OpenFiles::mutex_.
  std::atomic<bool> flushed_ = false;
  std::list<Handle>::iterator self_;
};

// All handles, in the order they were opened.
//
// close(2) returns before the kernel has sent the RELEASE that commits the file, and the next
// open(2) may overtake it on another thread. settle() makes up for that: a file all of whose
// writing handles saw a close and no write since is most likely about to be released, so it waits
// for that.
//
// Threads: all functions may be called at the same time; no lock is held while a file is closed.
class OpenFiles {
 public:
  // How long after a close its RELEASE is expected: for descriptors that were duplicated, a close
  // is no last close, and there is nothing to wait for.
  static constexpr std::chrono::milliseconds kSettleTime{1000};
  // The same for settle_all(), which may wait for files that the caller has nothing to do with.
  static constexpr std::chrono::milliseconds kSettleAllTime{100};

  ~OpenFiles() { close_all(); }

  // Takes over `file`, opened as `intent` says.
  Handle& add(std::unique_ptr<mpool::OpenFile> file, const mpool::OpenIntent& intent);
  // A descriptor of the handle was closed, or written to.
  void note_flush(Handle& handle);
  void note_write(Handle& handle);
  // Closes the file and forgets the handle.
  void close(Handle& handle) noexcept;
  // Closes what is left, in the order of opening: the mount ended with files open.
  void close_all() noexcept;

  // Waits while the last close of the file's writing handles seems to be under way, until `longest`
  // after it began.
  void settle(mpool::InodeNumber inode, std::chrono::milliseconds longest = kSettleTime);
  // The same for all files, so that what was closed before is committed before what comes next.
  void settle_all(std::chrono::milliseconds longest = kSettleAllTime);

  std::size_t count() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Writers {
    unsigned handles = 0;
    unsigned flushed = 0;
    Clock::time_point last_flush;

    bool closing() const { return flushed == handles; }
  };

  void forget(Handle& handle) noexcept;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Handle> handles_;
  std::unordered_map<mpool::InodeNumber, Writers> writers_;  // of files that are not logs
};

}  // namespace mpoolfs

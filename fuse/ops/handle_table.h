// The open files of the kernel.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include <sys/types.h>

#include "engine/names/names.h"

namespace mpoolfs {

// One open file of the kernel; its address is the file handle of requests.
class KernelHandle {
 public:
  mpool::OpenFile& file() { return *file_; }
  bool append() const { return append_; }
  // The file may have mode bits that a write must clear (mode_after_write()).
  bool may_have_privileges() const { return privileges_.load(std::memory_order_relaxed); }
  void set_may_have_privileges(bool may) { privileges_ = may; }

 private:
  friend class HandleTable;
  using Clock = std::chrono::steady_clock;

  std::unique_ptr<mpool::OpenFile> file_;
  pid_t opener_ = 0;  // 0: unknown
  bool writes_ = false;
  bool append_ = false;
  std::atomic<bool> privileges_ = false;
  // The lock owner that wrote and has not closed since; 0: none is known.
  std::atomic<std::uint64_t> writer_ = 0;
  // Its number in HandleTable::closing_; 0 when it is not in there. Changed under
  // HandleTable::mutex_, as are the following members.
  std::atomic<std::uint64_t> closing_ = 0;
  // While it is closing: the time of the answer to the FLUSH, after which a RELEASE may follow.
  // Empty: the RELEASE has arrived, or the FLUSH is unanswered.
  std::optional<Clock::time_point> flushed_;
  pid_t flusher_ = 0;      // the process that sent the FLUSH
  bool asked_ = false;     // it was checked whether that process has other descriptors
  bool released_ = false;  // the RELEASE has arrived
  bool shared_ = false;    // a close was not the last one: other descriptors exist
  std::list<KernelHandle>::iterator self_;
};

// All handles, in the order they were opened.
//
// close(2) returns before the kernel has sent the RELEASE that commits the file, and the caller's
// next request may overtake it on another thread. Therefore a writing handle counts as closing from
// the FLUSH of a close until it is released or written to again. Requests that depend on the file
// wait for that with settle(), and changes wait for all closes before them with settle_earlier(),
// so that changes stay in the order of their callers. They wait as long as the device takes for the
// FLUSH and, once the RELEASE has arrived, for the commit.
//
// The close of an inherited or duplicated descriptor has no RELEASE. Such closes are recognized as
// follows:
// - While the process that wrote has the file open, every close by another process is one:
//   processes that write start other processes, which close inherited descriptors.
// - A FLUSH after a FLUSH shows that the first one was: requests stop waiting for it.
// - If no RELEASE arrives within kAskTime, the waiting thread checks whether the closing process,
//   or the process that opened the file, still has it open.
// - Otherwise requests wait in vain until kSettleTime after the answer to the FLUSH, and from the
//   second time on for a kSharedPart of that.
//
// Threads: all functions may be called at the same time, except on_doubt(), which must be called
// before them; no lock is held while a file is closed, nor during the check.
class HandleTable {
 public:
  // The RELEASE follows the answer to a FLUSH at once, but may be delayed on a busy machine.
  static constexpr std::chrono::milliseconds kSettleTime{1000};
  static constexpr int kSharedPart = 20;
  static constexpr std::chrono::milliseconds kAskTime{5};

  HandleTable() : HandleTable(kSettleTime) {}
  explicit HandleTable(std::chrono::milliseconds settle_time) : settle_time_(settle_time) {}
  ~HandleTable() { close_all(); }

  // True if a process has the file open for writing.
  using HasOpen = std::function<bool(pid_t process, mpool::InodeNumber inode)>;
  void on_doubt(HasOpen has_open) { has_open_ = std::move(has_open); }

  // Takes ownership of `file`, opened with `intent`. `process`: the opener; 0: unknown.
  KernelHandle& add(std::unique_ptr<mpool::OpenFile> file, const mpool::OpenIntent& intent,
                    pid_t process = 0);
  // A request writes to the handle. `owner`: the lock owner of the request, which represents a
  // process's table of descriptors; 0: unknown.
  void note_write(KernelHandle& handle, std::uint64_t owner);
  // The file got mode bits that its writers must clear.
  void note_privileges(mpool::InodeNumber inode);
  // A descriptor of the handle is being closed: calls OpenFile::flush(); to be called before the
  // answer. `process`: as add().
  void flush(KernelHandle& handle, std::uint64_t owner, pid_t process = 0);
  // The same with OpenFile::flush_now(); if false, the caller must call flush().
  bool flush_now(KernelHandle& handle, std::uint64_t owner, pid_t process = 0);
  // Closes the file, after those that began closing before it, and removes the handle.
  void close(KernelHandle& handle) noexcept;
  // As close(), but non-blocking; returns false if it may block: the caller must call close().
  bool close_now(KernelHandle& handle) noexcept;
  // Closes all remaining files in the order of opening: the mount ended with files open.
  void close_all() noexcept;

  // Blocks while the file is closing.
  void settle(mpool::InodeNumber inode);
  // Blocks until all files that are closing now are closed.
  void settle_earlier();
  // True if settle_earlier() would not block.
  bool settled() const;

  // True if a RELEASE of a writing handle of the file has arrived and is not finished; blocks on
  // that.
  bool committing(mpool::InodeNumber inode) const;
  void wait_for_commit(mpool::InodeNumber inode);

  std::size_t count() const;

 private:
  using Clock = KernelHandle::Clock;

  // Records the arrival of a FLUSH, and its end unless flush() returns false.
  template <typename Flush>
  bool between_notes(KernelHandle& handle, std::uint64_t owner, pid_t process, const Flush& flush);
  void flush_arrived(KernelHandle& handle, std::uint64_t owner, pid_t process);
  void flush_ends(KernelHandle& handle) noexcept;
  void release_arrived(KernelHandle& handle) noexcept;
  // Called under mutex_: marks the handle as closing, after all others that are; or as not closing.
  void start_closing(KernelHandle& handle);
  void stop_closing(KernelHandle& handle);
  // Blocks until the closing handles with smaller numbers are done.
  void wait_for_numbers_below(std::unique_lock<std::mutex>& lock, std::uint64_t limit);
  void wait_for(std::unique_lock<std::mutex>& lock, KernelHandle& handle);
  void ask(std::unique_lock<std::mutex>& lock, KernelHandle& handle);
  // Called under mutex_: a handle of the file that is closing, or whose RELEASE has arrived; null:
  // none.
  KernelHandle* find_closing(mpool::InodeNumber inode, bool released = false) const;
  void forget(KernelHandle& handle) noexcept;

  const std::chrono::milliseconds settle_time_;
  HasOpen has_open_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::list<KernelHandle> handles_;
  std::uint64_t next_number_ = 1;
  std::map<std::uint64_t, KernelHandle*> closing_;  // in the order of their FLUSH; no logs
};

}  // namespace mpoolfs

// The files that the kernel holds open.
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

// One open file as the kernel knows it; its address is the file handle of requests.
class Handle {
 public:
  mpool::OpenFile& file() { return *file_; }
  bool append() const { return append_; }
  // The file may have mode bits that a write has to clear (mode_after_write()).
  bool may_have_privileges() const { return privileges_.load(std::memory_order_relaxed); }
  void set_may_have_privileges(bool may) { privileges_ = may; }

 private:
  friend class OpenFiles;
  using Clock = std::chrono::steady_clock;

  std::unique_ptr<mpool::OpenFile> file_;
  pid_t opener_ = 0;  // 0: not known
  bool writes_ = false;
  bool append_ = false;
  std::atomic<bool> privileges_ = false;
  // Who wrote, and has not closed since; 0: nobody is known to have.
  std::atomic<std::uint64_t> writer_ = 0;
  // Its number in OpenFiles::closing_; 0 when it is not there. Changed under OpenFiles::mutex_, as
  // are the members that follow.
  std::atomic<std::uint64_t> closing_ = 0;
  // While it is closing: when the FLUSH was answered, after which a RELEASE may be on its way.
  // None: it has come, or the FLUSH has not been answered.
  std::optional<Clock::time_point> flushed_;
  pid_t flusher_ = 0;      // whose FLUSH it was
  bool asked_ = false;     // whether he has other descriptors
  bool released_ = false;  // the RELEASE has come
  bool shared_ = false;    // a close was not the last one: there are other descriptors
  std::list<Handle>::iterator self_;
};

// All handles, in the order they were opened.
//
// close(2) returns before the kernel has sent the RELEASE that commits the file, and what the
// caller does next may overtake it on another thread. So from the FLUSH of a close on, a writing
// handle counts as closing until it is released or written to again. What depends on the file waits
// for that with settle(), and changes wait for all closes before them with settle_earlier(), so
// that changes stay in the order their callers made them. However long the device takes for the
// FLUSH, and for the commit once the RELEASE is here, they wait.
//
// A close of an inherited or duplicated descriptor is followed by no RELEASE. While one who wrote
// has the file open, closes of others are known to be such ones: each process that writes starts
// others, which close what they inherit. A FLUSH after a FLUSH shows that the first was such a one:
// what waits for the first waits no longer. Who waits for another RELEASE for kAskTime asks whether
// the process that closes, or the one that opened the file, has it open. The rest is waited for in
// vain for kSettleTime from the answer to the FLUSH, and a kSharedPart of that from the second time
// on.
//
// Threads: all functions may be called at the same time, but for on_doubt(), which comes before; no
// lock is held while a file is closed, nor while asking.
class OpenFiles {
 public:
  // After the answer to a FLUSH the RELEASE follows at once, but a busy machine may take its time.
  static constexpr std::chrono::milliseconds kSettleTime{1000};
  static constexpr int kSharedPart = 20;
  static constexpr std::chrono::milliseconds kAskTime{5};

  OpenFiles() : OpenFiles(kSettleTime) {}
  explicit OpenFiles(std::chrono::milliseconds settle_time) : settle_time_(settle_time) {}
  ~OpenFiles() { close_all(); }

  // Whether a process has the file open for writing.
  using HasOpen = std::function<bool(pid_t process, mpool::InodeNumber inode)>;
  void on_doubt(HasOpen has_open) { has_open_ = std::move(has_open); }

  // Takes over `file`, opened as `intent` says. `process`: by whom; 0: not known.
  Handle& add(std::unique_ptr<mpool::OpenFile> file, const mpool::OpenIntent& intent,
              pid_t process = 0);
  // The handle is being written to. `owner`: the lock owner of the request, which stands for a
  // process's table of descriptors; 0: not known.
  void note_write(Handle& handle, std::uint64_t owner);
  // The file was given mode bits that its writers have to clear.
  void note_privileges(mpool::InodeNumber inode);
  // A descriptor of the handle is being closed: OpenFile::flush(), to be called before the answer.
  // `process`: as add().
  void flush(Handle& handle, std::uint64_t owner, pid_t process = 0);
  // The same with OpenFile::flush_now(); false: flush() is to follow.
  bool flush_now(Handle& handle, std::uint64_t owner, pid_t process = 0);
  // Closes the file, after those that began closing before it, and forgets the handle.
  void close(Handle& handle) noexcept;
  // The same without waiting; false where it might have to: close() is to follow.
  bool close_now(Handle& handle) noexcept;
  // Closes what is left, in the order of opening: the mount ended with files open.
  void close_all() noexcept;

  // Waits while the file is closing.
  void settle(mpool::InodeNumber inode);
  // Waits for everything that is closing now.
  void settle_earlier();
  // settle_earlier() would not wait.
  bool settled() const;

  // Whether a RELEASE of a writing handle of the file has come and is not done; waits for that.
  bool committing(mpool::InodeNumber inode) const;
  void wait_for_commit(mpool::InodeNumber inode);

  std::size_t count() const;

 private:
  using Clock = Handle::Clock;

  // Notes that a FLUSH has come, and its end unless flush() says that it has not ended.
  template <typename Flush>
  bool between_notes(Handle& handle, std::uint64_t owner, pid_t process, const Flush& flush);
  void flush_arrived(Handle& handle, std::uint64_t owner, pid_t process);
  void flush_ends(Handle& handle) noexcept;
  void release_arrived(Handle& handle) noexcept;
  // Under mutex_: the handle is closing, behind all that are, or is not.
  void start_closing(Handle& handle);
  void stop_closing(Handle& handle);
  // Waits for those closing with smaller numbers.
  void wait_for_numbers_below(std::unique_lock<std::mutex>& lock, std::uint64_t limit);
  void wait_for(std::unique_lock<std::mutex>& lock, Handle& handle);
  void ask(std::unique_lock<std::mutex>& lock, Handle& handle);
  // Under mutex_: a handle of the file that is closing, or of which the RELEASE has come; null:
  // there is none.
  Handle* find_closing(mpool::InodeNumber inode, bool released = false) const;
  void forget(Handle& handle) noexcept;

  const std::chrono::milliseconds settle_time_;
  HasOpen has_open_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Handle> handles_;
  std::uint64_t next_number_ = 1;
  std::map<std::uint64_t, Handle*> closing_;  // in the order of their FLUSH; no logs
};

}  // namespace mpoolfs

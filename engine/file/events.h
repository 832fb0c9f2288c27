// What the engine reports to a frontend.
#pragma once

#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "engine/tree/attributes.h"

namespace mpool {

// Whether set() blocks while the callback is called.
enum class DuringCall : std::uint8_t { free, locked };

// An event with one callback, or none.
//
// Threads: all functions may be called at the same time.
template <DuringCall during, typename... Arguments>
class Event {
 public:
  using Callback = std::function<void(Arguments...)>;

  // DuringCall::locked: when the callback has been replaced, no call of the old one is in progress.
  // Otherwise one more call of the old one may follow.
  void set(Callback next) {
    const std::lock_guard lock(mutex_);
    callback_ = std::move(next);
  }
  void operator()(Arguments... arguments) {
    std::unique_lock lock(mutex_);
    if constexpr (during == DuringCall::locked) {
      if (callback_) callback_(arguments...);
    } else {
      const Callback present = callback_;
      lock.unlock();
      if (present) present(arguments...);
    }
  }

 private:
  std::mutex mutex_;
  Callback callback_;
};

// Locks: those of `removed`, `advised` and of the free events are leaves; that of catch_up, which
// may block, is taken with the journal's barrier, or with no other lock.
struct Events {
  // Called (on a thread of the engine, without locks) when a name was removed because the commit of
  // its file failed: parent, name, inode.
  Event<DuringCall::free, InodeNumber, const std::string&, InodeNumber> create_failed;
  // Called in the same way when the content of a file became committed: cached attributes are
  // stale.
  Event<DuringCall::free, InodeNumber> committed;
  // Called in the same way when the content and the records of committed files are durable: a crash
  // no longer undoes them. Not for files in packs.
  Event<DuringCall::free, std::span<const InodeNumber>> durable;
  // Called when a file with objects of its own lost its last name, open file and reference. The
  // tree's lock is held: the callback must neither block nor call back.
  Event<DuringCall::locked, InodeNumber> removed;
  // Called in the same way when user.mpool.advice of an inode was set, or removed (empty).
  Event<DuringCall::locked, InodeNumber, std::string_view> advised;
  // Called without locks, on the thread that needs space, when no space is left: the callee closes
  // files whose objects can then be deleted.
  Event<DuringCall::free> no_room;
  // Called without locks, on a thread that may block, when a file has no writer any more unless a
  // close() is on its way (OpenFile::flush). The callee returns when every call that was requested
  // from it before has been made: also the close() of files whose last close(2) has returned.
  Event<DuringCall::locked> catch_up;
};

}  // namespace mpool

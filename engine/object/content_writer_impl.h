// The inside of ContentWriter: content_writer.cpp (writing, sealing), started_write.cpp (writes
// that do not wait).
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "engine/object/content_writer.h"

namespace mpool {

inline std::uint64_t page_of(std::uint64_t offset) {
  return round_down(offset, kPageSize);
}

// Gathering buffers that nobody uses, of all files: fresh memory costs more than filling it. A leaf
// among locks.
class SpareBuffers {
 public:
  AlignedBuffer take() {
    {
      const std::lock_guard lock(mutex_);
      if (!spares_.empty()) {
        AlignedBuffer buffer = std::move(spares_.back());
        spares_.pop_back();
        return buffer;
      }
    }
    return AlignedBuffer(ContentWriter::kGatherSize);
  }
  void give(AlignedBuffer buffer) {
    if (buffer.empty()) return;
    const std::lock_guard lock(mutex_);
    if (spares_.size() < kMaxSpares) spares_.push_back(std::move(buffer));
  }

 private:
  static constexpr std::size_t kMaxSpares = 8;
  std::mutex mutex_;
  std::vector<AlignedBuffer> spares_;
};

SpareBuffers& spare_buffers();

// A write claims its range in fresh_ and is cut in pieces; each goes to gather_ or straight to the
// device: page-aligned ones that are large or do not go on where a write ended. What is gathered
// leaves when the piece of kGatherSize is full or a write to be gathered comes that does not go on
// where it ends: whole pages to the device, ragged ends to pages_, where a page waits for its other
// bytes. start_write() does of this what needs no I/O but one transfer.
//
// mutex_ guards everything; it is released during I/O and allocation (Unlocked). Meanwhile
// - users_ counts the writes under way; drain, seal and discard (Exclusive) wait until
// there are
//   none and hold off new ones;
// - a page of pages_ with `busy` is under I/O and left alone by all others (await a change). A page
// that
//   was gathered whole is in one hand only, because every byte comes once;
// - a window without a writer is being allocated.
// Nobody waits while owing others something: a thread with a busy page or an allocation does just
// that.
struct ContentWriter::Impl {
  using Lock = std::unique_lock<std::mutex>;

  Impl(std::uint64_t zone_size, Allocate allocate)
      : zone_size_(zone_size), allocate_(std::move(allocate)) {}

  // Where the pages of [base, limit) of the file go: to byte (page - base) of the mblock.
  struct Window {
    std::uint64_t limit = 0;
    std::unique_ptr<MblockWriter> writer;
  };

  // Bytes [begin, end) of the file, inside one piece of kGatherSize; byte o lies at o %
  // kGatherSize.
  struct Gathered {
    AlignedBuffer buffer;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    bool empty() const { return begin == end; }
    ConstByteSpan bytes(std::uint64_t from, std::uint64_t to) const {
      return buffer.span(from % kGatherSize, to - from);
    }
    // Its whole pages; before and behind them are the ragged ends.
    std::uint64_t pages_begin() const { return std::min(round_up(begin, kPageSize), end); }
    std::uint64_t pages_end() const { return std::max(page_of(end), pages_begin()); }
  };

  // A page of which some bytes came.
  struct PartialPage {
    AlignedBuffer buffer;    // empty: on the device (spilled)
    std::size_t filled = 0;  // bytes that came, or that an earlier seal took
    std::uint64_t age = 0;   // key in by_age_ while in memory and not busy
    bool busy = false;
  };

  // Releases the lock while it lives.
  class Unlocked {
   public:
    explicit Unlocked(Lock& lock) : lock_(lock) { lock_.unlock(); }
    ~Unlocked() { lock_.lock(); }
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;

   private:
    Lock& lock_;
  };

  // Counts a write under way. The lock is held at both ends.
  class User {
   public:
    explicit User(Impl& impl) : impl_(impl) { ++impl_.users_; }
    ~User() {
      if (--impl_.users_ == 0) impl_.changed_.notify_all();
    }
    User(const User&) = delete;
    User& operator=(const User&) = delete;

   private:
    Impl& impl_;
  };

  // Alone: no write under way, none begins. The lock is held at both ends.
  class Exclusive {
   public:
    Exclusive(Impl& impl, Lock& lock) : impl_(impl) {
      impl_.changed_.wait(lock, [&] { return !impl_.exclusive_; });
      impl_.exclusive_ = true;
      impl_.changed_.wait(lock, [&] { return impl_.users_ == 0; });
    }
    ~Exclusive() {
      impl_.exclusive_ = false;
      impl_.changed_.notify_all();
    }
    Exclusive(const Exclusive&) = delete;
    Exclusive& operator=(const Exclusive&) = delete;

   private:
    Impl& impl_;
  };

  void write(std::uint64_t offset, ConstByteSpan data);
  StartedWrite start_write(std::uint64_t offset, ConstByteSpan data);
  void reserve(std::uint64_t offset, std::size_t length);
  void end_write(StartedWrite& write, int error);
  void drain(Lock& lock);
  Sealed seal(Lock& lock, bool last);
  void discard(Lock& lock);
  std::uint64_t length() const { return std::max({fresh_.end(), sealed_.end(), declared_length_}); }

  // Runs `body`; its failure is kept.
  template <typename Body>
  auto guarded(Body&& body) {
    check_failure();
    try {
      return body();
    } catch (...) {
      keep_failure();
      throw;
    }
  }
  void check_failure() const {
    if (failure_) std::rethrow_exception(failure_);
  }
  void keep_failure() {
    if (!failure_) failure_ = std::current_exception();
    changed_.notify_all();
  }
  // Waits until another thread changed something.
  void await_change(Lock& lock) {
    changed_.wait(lock);
    check_failure();
  }

  void check_range(std::uint64_t offset, std::size_t length) const;
  void check_unwritten(std::uint64_t offset, std::size_t length) const;
  void claim(std::uint64_t offset, std::size_t length);
  void open_windows(Lock& lock, std::uint64_t offset, std::size_t length);
  void drop_unused_windows(Lock& lock);
  bool goes_on(std::uint64_t offset) const;
  bool is_direct(std::uint64_t offset, std::size_t length, bool sequential) const;
  bool continues_gathering(std::uint64_t offset) const {
    return !gather_.empty() && gather_.end == offset;
  }

  std::size_t put(Lock& lock, std::uint64_t offset, ConstByteSpan data, bool sequential);
  Gathered take_gathered();
  bool is_deferrable() const;
  AlignedBuffer gathered_pages() const;
  void defer_gathered(Lock& lock);
  bool defer_all_now();
  std::size_t gather(std::uint64_t offset, ConstByteSpan data);
  void put_out(Lock& lock, Gathered gathered);
  StartedWrite start_direct(std::uint64_t offset, ConstByteSpan data);
  StartedWrite start_gathering(Lock& lock, std::uint64_t offset, ConstByteSpan data);
  StartedWrite transfer_of(std::uint64_t offset, ConstByteSpan pages);
  bool has_room_for_ends(const Gathered& gathered) const;
  bool has_room_for_part(std::uint64_t offset, std::size_t length) const;
  void put_ends(Lock& lock, const Gathered& gathered);
  void put_partial(Lock& lock, std::uint64_t offset, ConstByteSpan data);
  PartialPage& page_in_memory(Lock& lock, std::uint64_t page);
  void write_partial(Lock& lock, std::uint64_t number, PartialPage& page);
  void spill_oldest(Lock& lock);
  std::size_t sealed_bytes(std::uint64_t page) const;

  void write_pages(Lock& lock, std::uint64_t offset, ConstByteSpan pages);
  std::pair<const std::uint64_t, Window>& window_of(Lock& lock, std::uint64_t page);
  std::pair<const std::uint64_t, Window>* open_window_at(std::uint64_t page);
  bool windows_open(std::uint64_t offset, std::size_t length);
  std::pair<const std::uint64_t, Window>& open_window(Lock& lock, std::uint64_t page);
  std::uint64_t base_for(std::uint64_t page) const;
  void add_extents(std::uint64_t base, const Window& window, bool last,
                   std::vector<Extent>& extents) const;

  const std::uint64_t zone_size_;
  const Allocate allocate_;

  std::mutex mutex_;
  std::condition_variable changed_;  // users_, exclusive_, failure_, a page, a window
  std::size_t users_ = 0;
  bool exclusive_ = false;
  bool ended_ = false;  // seal(true) was there
  std::exception_ptr failure_;

  RangeSet fresh_;   // bytes claimed since the last seal
  RangeSet sealed_;  // bytes of earlier seals
  std::uint64_t declared_length_ = 0;

  std::uint64_t last_end_ = 0;  // where the last write ended

  Gathered gather_;
  std::map<std::uint64_t, PartialPage> pages_;     // by offset in the file
  std::map<std::uint64_t, std::uint64_t> by_age_;  // age -> page
  std::uint64_t next_age_ = 0;
  std::map<std::uint64_t, Window> windows_;  // base -> window; disjoint
  std::optional<std::uint64_t> next_zone_;   // after the last mblock
};

}  // namespace mpool

// The inside of ContentWriter: content_writer.cpp (writing, the calls), started_write.cpp (writes
// that do not wait), content_pages.cpp (pages in memory), content_windows.cpp (mblocks),
// content_packing.cpp (small files), content_reader.cpp (reading), content_end.cpp (sealing,
// truncating, discarding).
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "engine/base/write_memory.h"
#include "engine/object/content_writer.h"
#include "engine/object/held_pages.h"

namespace mpool {

inline constexpr std::uint64_t kMaxContentLength = std::numeric_limits<std::int64_t>::max();

inline std::uint64_t page_of(std::uint64_t offset) {
  return round_down(offset, kPageSize);
}

// Every written byte of the file is in one of three places:
// - held_: pages in memory. Small writes go there. Whole pieces leave for the device when the file
//   exceeds its share of memory_ (oldest first, except the first piece), and when memory is short;
// - an mblock of windows_: large aligned writes go there at once. A partly written page is written
//   out with zeros for the rest, and read back into held_ for further bytes;
// - sealed_parts_: mblocks, or a record of a pack, of earlier seals.
//
// After a seal a window whose mblock has no gaps stays. Bytes of its last page that follow rewrite
// that page, read back before, with the same sealed bytes: these never change on the device.
//
// While packing_ all bytes are in held_, and there are no windows.
//
// mutex_ guards everything; it is released during I/O and allocation (Unlocked). Meanwhile
// - users_ counts the reads, writes and write-outs in progress; drain, seal, truncate and discard
//   (Exclusive) block until it is 0 and block new ones;
// - the pages of busy_ belong to one thread or transfer: other threads block until they are free. A
//   byte is entered in fresh_ when it is in its place, or its page is busy;
// - a window without a writer is being allocated.
// A thread that marked a page busy blocks only on I/O, an allocation and memory; a relief of memory
// skips busy pieces. So no two threads wait for each other (no deadlock).
struct ContentWriter::Impl final : WriteMemory::Holder,
                                   std::enable_shared_from_this<ContentWriter::Impl> {
  using Lock = std::unique_lock<std::mutex>;
  using Range = HeldPages::Range;

  Impl(std::uint64_t zone_size, Allocate allocate, WriteMemory& memory,
       std::unique_ptr<PackRoom> pack)
      : zone_size_(zone_size),
        allocate_(std::move(allocate)),
        memory_(memory),
        pack_(std::move(pack)),
        packing_(pack_ != nullptr) {}
  ~Impl() override { memory_.give(accounted_); }

  // The destination of the pages of [base, limit) of the file: byte (page - base) of the mblock.
  struct Window {
    std::uint64_t limit = 0;
    std::shared_ptr<MblockWriter> writer;
    bool set_aside = false;  // a seal that is not the last one keeps it when it is unused
    // The first byte of the file that a seal recorded in the mblock.
    std::optional<std::uint64_t> sealed_from = std::nullopt;
  };
  using Windows = std::map<std::uint64_t, Window>;  // base -> window; disjoint

  // The location of sealed bytes.
  struct SealedPart {
    std::uint64_t length = 0;
    Device* device = nullptr;
    std::uint64_t device_offset = 0;
    std::shared_ptr<DeferredWrite> deferred;
    std::shared_ptr<Pack> pack = nullptr;  // not null: all of this record, instead of the above
    PackedRecord record = {};
  };

  // Releases the lock during its lifetime.
  class Unlocked {
   public:
    explicit Unlocked(Lock& lock) : lock_(lock) { lock_.unlock(); }
    ~Unlocked() { lock_.lock(); }
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;

   private:
    Lock& lock_;
  };

  // Counts a read or write in progress. The lock is held at both ends.
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

  // Marks pages busy; they must not be busy before. The lock is held at both ends.
  class Busy {
   public:
    Busy(Impl& impl, Range pages) : impl_(impl), pages_(pages) {
      impl_.busy_.insert(pages_.begin, pages_.end);
    }
    ~Busy() { impl_.release_busy(pages_); }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

   private:
    Impl& impl_;
    const Range pages_;
  };

  // Exclusive access: no read or write is in progress, and none begins. The lock is held at both
  // ends.
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

  static Range pages_of(std::uint64_t offset, std::size_t length) {
    return {page_of(offset), round_up(offset + length, kPageSize)};
  }
  bool is_busy(Range pages) const { return busy_.overlaps(pages.begin, pages.end); }
  void release_busy(Range pages) {
    busy_.erase(pages.begin, pages.end);
    if (waiting_ > 0) changed_.notify_all();
  }
  void wait_until_idle(Lock& lock, Range pages);

  // Runs `body`; its failure becomes sticky.
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

  // content_writer.cpp
  void write(std::uint64_t offset, ConstByteSpan data, Buffering buffering);
  std::uint64_t length() const { return std::max({fresh_.end(), sealed_.end(), declared_length_}); }
  void check_range(std::uint64_t offset, std::size_t length) const;
  void check_unwritten(std::uint64_t offset, std::size_t length) const;
  bool is_sequential(std::uint64_t offset) const;
  bool is_direct(std::uint64_t offset, std::size_t length, bool sequential,
                 Buffering buffering) const;
  std::size_t write_or_hold(Lock& lock, std::uint64_t offset, ConstByteSpan data, bool sequential,
                            Buffering buffering);
  void note_written(std::uint64_t offset, std::size_t length);

  // started_write.cpp
  StartedWrite start_write(std::uint64_t offset, ConstByteSpan data, Buffering buffering);
  StartedWrite start_direct(std::uint64_t offset, ConstByteSpan data);
  StartedWrite start_holding(std::uint64_t offset, ConstByteSpan data);
  StartedWrite transfer_of(std::uint64_t offset, ConstByteSpan pages);
  StartedWrite evict_as_transfer(Range needed);
  bool take_room(Range range, bool whole);
  void end_write(StartedWrite& write, int error);

  // content_pages.cpp
  bool needs_read_back(std::uint64_t page);
  bool needs_read_back(Range range);
  bool wants_whole_piece(std::uint64_t offset) const;
  void hold(std::uint64_t offset, ConstByteSpan data);
  void make_room(Lock& lock, Range range);
  void read_back(Lock& lock, std::uint64_t page);
  bool can_leave(Range piece, Range needed) const;
  bool evict_oldest(Lock& lock, Range needed);
  void write_out(Lock& lock, Range pages);
  void forget_piece(Range piece);
  void account();
  void write_out_idle() noexcept override;

  // content_windows.cpp
  void write_pages(Lock& lock, std::uint64_t offset, ConstByteSpan pages);
  void open_windows(Lock& lock, std::uint64_t offset, std::uint64_t length);
  void set_aside(std::uint64_t offset, std::uint64_t length);
  Windows::value_type& window_of(Lock& lock, std::uint64_t page);
  Windows::value_type* open_window_at(std::uint64_t page);
  bool windows_open(std::uint64_t offset, std::size_t length);
  Windows::value_type& open_window(Lock& lock, std::uint64_t page);
  std::uint64_t base_for(std::uint64_t page) const;
  bool is_used(const Windows::value_type& window) const;
  std::vector<std::shared_ptr<MblockWriter>> take_unused_windows(bool last);

  // content_packing.cpp
  bool can_pack(std::uint64_t end) const { return packing_ && end <= pack_->max_length(); }
  bool try_reserve(std::uint64_t end) { return pack_->try_reserve(std::max(end, fresh_.end())); }
  bool stays_in_pack(Lock& lock, std::uint64_t end);
  void leave_pack(Lock& lock);
  void find_place(Lock& lock, std::uint64_t offset, std::uint64_t length);
  // The gaps of a record cannot be written later.
  bool seals_into_pack(bool last) const {
    return packing_ && (last || fresh_.empty() || fresh_.contains(fresh_.begin(), fresh_.end()));
  }
  std::optional<Sealed> try_seal_packed(bool last);
  Sealed seal_packed(Lock& lock, bool last);
  std::vector<std::byte> packed_content(std::uint64_t begin) const;
  Sealed end_packed(const PackRoom::Packed& packed, std::uint64_t begin, bool last);

  // content_reader.cpp
  struct DeviceRead {
    Device* device;
    std::uint64_t offset;
    ByteSpan into;
    std::shared_ptr<DeferredWrite> deferred;
    std::shared_ptr<Pack> pack = nullptr;  // not null: of this record
    PackedRecord record = {};
  };
  std::size_t read(std::uint64_t offset, ByteSpan into);
  void collect_fresh(std::uint64_t offset, ByteSpan into, std::vector<DeviceRead>& reads);
  void collect_unheld(std::uint64_t offset, ByteSpan into, std::vector<DeviceRead>& reads);
  void collect_sealed(std::uint64_t offset, ByteSpan into, std::vector<DeviceRead>& reads) const;

  // content_end.cpp
  void drain(Lock& lock);
  bool is_deferrable() const;
  AlignedBuffer deferrable_pages() const;
  void defer_end(Lock& lock);
  bool try_defer_all();
  Sealed seal(Lock& lock, bool last);
  void add_extents(const Windows::value_type& window, bool last,
                   std::vector<Extent>& extents) const;
  void add_sealed_parts(const MblockWriter& writer, std::vector<Extent>::const_iterator first,
                        std::vector<Extent>::const_iterator last);
  void truncate(Lock& lock, std::uint64_t length);
  void drop_deleted_windows(Lock& lock, std::uint64_t length);
  void cut_sealed_parts(std::uint64_t length);
  void discard(Lock& lock);

  const std::uint64_t zone_size_;
  const Allocate allocate_;
  WriteMemory& memory_;
  const std::unique_ptr<PackRoom> pack_;

  std::mutex mutex_;
  // signals changes of users_, exclusive_, failure_, busy_, a window
  std::condition_variable changed_;
  std::size_t users_ = 0;
  std::size_t waiting_ = 0;  // threads blocked on busy pages
  bool exclusive_ = false;
  bool ended_ = false;  // seal(true) was called
  bool packing_;        // what was written goes into a pack
  std::exception_ptr failure_;

  RangeSet busy_;    // pages
  RangeSet fresh_;   // bytes written since the last seal
  RangeSet soft_;    // of them, bytes that never left the memory: they can be overwritten
  RangeSet sealed_;  // bytes of earlier seals
  RangeSet cut_;     // cut-off bytes that were on the device
  std::uint64_t declared_length_ = 0;
  std::uint64_t last_end_ = 0;  // end of the last write

  HeldPages held_{memory_};
  std::size_t accounted_ = 0;  // bytes of memory_ taken for held_
  bool entered_ = false;       // registered with memory_

  Windows windows_;
  std::optional<std::uint64_t> next_zone_;            // after the last mblock
  std::map<std::uint64_t, SealedPart> sealed_parts_;  // by offset in the file
};

}  // namespace mpool

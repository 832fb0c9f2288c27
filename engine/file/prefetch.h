// Prefetch for sequential direct reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/tunables.h"
#include "engine/file/accounted_memory.h"
#include "engine/file/read_plan.h"
#include "engine/io/io_ring.h"

namespace mpool {

// A single-threaded O_DIRECT reader leaves the device idle while the kernel copies the data.
// Prefetch overlaps the two. The kernel prefetches only into its page cache; this class does it for
// O_DIRECT reads. Committed content does not change, so prefetched data never becomes stale: it
// belongs to the file, whose number is never reused.
//
// A reader that the system moves to another CPU uses another ring from then on: prefetched data is
// in a Store that all rings share.
//
// Bounded by Tunables::Prefetch, regardless of the number of files.
//
// Threads: those of one ring.
class Prefetch {
 public:
  class Store;

  // Waits for a prefetch in progress.
  class Reader {
   public:
    // Called on the thread of the reader's ring. data: as Fetched, valid until it returns; error: 0
    // or an errno.
    virtual void fetched(ConstByteSpan data, int error) noexcept = 0;
    // Called on the thread of another ring, which made the prefetch: must have collect() called on
    // the reader's thread.
    virtual void wake() noexcept = 0;

   protected:
    Reader() = default;
    Reader(const Reader&) = default;
    Reader& operator=(const Reader&) = default;
    ~Reader() = default;
  };

 private:
  struct Slot;
  struct GiveBack {
    void operator()(Slot* slot) const noexcept;
  };

 public:
  using Loan = std::unique_ptr<Slot, GiveBack>;
  struct Fetched {
    enum class State : std::uint8_t {
      absent,  // the caller reads
      ready,
      pending,  // Reader::fetched() will be called, once
    };
    State state = State::absent;
    ConstByteSpan data;  // ready: what a read would return
    Loan loan;           // kept as long as the data is used
  };

  // `ring` and `store` must outlive it.
  Prefetch(IoRing& ring, Store& store) : ring_(ring), store_(store) {}
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  // A direct read of `source` has arrived. If the last reads were sequential and `alone`, the
  // following data is prefetched, too. A reader with several reads in flight keeps the device busy
  // without prefetch.
  Fetched fetch(ReadSource& source, std::uint64_t offset, std::size_t size, bool alone,
                Reader& reader);
  // Called after Reader::wake().
  void collect(Reader& reader) noexcept;

  // Reads of this ring in progress.
  std::size_t pending() const noexcept { return pending_; }
  // Drops unrequested data, and frees the memory when no read is in progress.
  void trim() noexcept;

 private:
  void submit() noexcept;

  IoRing& ring_;
  Store& store_;
  std::size_t pending_ = 0;
};

// Threads: the members are guarded by its mutex; no device I/O is waited for under it.
class Prefetch::Store {
 public:
  // rings: the number of rings that share it. `budget` must outlive it.
  Store(std::size_t rings, WriteMemory& budget, const Tunables::Prefetch& tunables = {});
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

 private:
  friend class Prefetch;
  struct Stream {
    std::uint64_t source_id = 0;  // 0: none
    std::uint64_t next = 0;       // bytes: expected offset of the next read
    std::uint64_t used = 0;       // a greater value means later use
    unsigned alone = 0;           // number of its last reads that were alone
  };

  // Called with the mutex held:
  Stream& follow(std::uint64_t source_id, std::uint64_t offset, std::size_t size);
  Slot* find(std::uint64_t source_id, std::uint64_t offset, std::size_t size);
  Slot* free_slot();
  // Prefetches for a ring; true if an operation was prepared on it.
  bool fetch_next(Prefetch& fetcher, ReadSource& source, std::uint64_t offset, std::size_t size);
  // False: no more data to prefetch there.
  bool start(Prefetch& fetcher, Slot& slot, ReadSource& source, std::uint64_t offset,
             std::size_t size) noexcept;

  const Tunables::Prefetch tunables_;
  std::mutex mutex_;
  std::vector<Stream> streams_;
  std::uint64_t clock_ = 0;
  AccountedMemory memory_;  // of all slots, allocated on first use
  std::vector<std::unique_ptr<Slot>> slots_;
};

}  // namespace mpool

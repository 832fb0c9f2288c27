// Data of sequential direct reads that is fetched before it is asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/huge_memory.h"
#include "engine/device/io_ring.h"
#include "engine/names/names.h"

namespace mpoolfs {

// Who reads with O_DIRECT, one request at a time, has the device wait while the kernel copies the
// data to him, and waits for the device afterwards. The kernel reads ahead for its page cache only;
// this does it for the others. What is committed does not change, so nothing that was fetched goes
// stale: it belongs to the inode, whose number is never given again.
//
// A reader whom the system moves to another CPU comes by another ring from then on: what was
// fetched is in a Store that all rings share.
//
// Bounded: for each ring kStreams readers are followed, and kPlaces reads are under way or kept,
// whatever the number of files.
//
// Threads: those of one ring.
class ReadAhead {
 public:
  static constexpr std::size_t kStreams = 2;
  static constexpr std::size_t kAhead = 3;  // reads before the reader
  // So many reads in a row were alone: at depth, the first of those that come together is, too.
  static constexpr unsigned kAlone = 2;
  // The data of one is with the caller.
  static constexpr std::size_t kPlaces = kStreams * kAhead + 1;
  // Sizes of reads that are followed, bytes: smaller ones cost more than they gain.
  static constexpr std::size_t kLeast = 64u << 10;
  static constexpr std::size_t kMost = 1u << 20;

  class Store;

  // Waits for what is being fetched.
  class Reader {
   public:
    // On the thread of the reader's ring. data: as Fetched, valid until it returns; error: 0 or an
    // errno.
    virtual void fetched(mpool::ConstByteSpan data, int error) noexcept = 0;
    // On the thread of another ring, by which it was fetched: has collect() called on its own.
    virtual void wake() noexcept = 0;

   protected:
    Reader() = default;
    Reader(const Reader&) = default;
    Reader& operator=(const Reader&) = default;
    ~Reader() = default;
  };

 private:
  struct Place;
  struct GiveBack {
    void operator()(Place* place) const noexcept;
  };

 public:
  struct Fetched {
    enum class State : std::uint8_t {
      absent,  // the caller reads
      here,
      coming,  // Reader::fetched() will be called, once
    };
    State state = State::absent;
    mpool::ConstByteSpan data;              // here: what OpenFile::read() gives
    std::unique_ptr<Place, GiveBack> loan;  // as long as the data is used
  };

  // Both outlive it.
  ReadAhead(mpool::IoRing& ring, Store& store) : ring_(ring), store_(store) {}
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  // A direct read of `file` has arrived. When the last ones have followed one another and were
  // `alone`, what comes next is fetched, too: who has several reads under way keeps the device busy
  // himself.
  Fetched fetch(mpool::OpenFile& file, std::uint64_t offset, std::size_t size, bool alone,
                Reader& reader);
  // After Reader::wake().
  void collect(Reader& reader) noexcept;

  // Reads of this ring under way.
  std::size_t pending() const noexcept { return pending_; }
  // Forgets what nobody has asked for, and gives the memory back when nothing is under way.
  void trim() noexcept;

 private:
  void submit() noexcept;

  mpool::IoRing& ring_;
  Store& store_;
  std::size_t pending_ = 0;
};

// Threads: what it has is guarded by its mutex, under which nothing waits for a device.
class ReadAhead::Store {
 public:
  // rings: how many share it.
  explicit Store(std::size_t rings);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

 private:
  friend class ReadAhead;
  struct Stream {
    mpool::InodeNumber inode = 0;  // 0: none
    std::uint64_t next = 0;        // bytes: where the next read of it begins
    std::uint64_t used = 0;        // the greater the later
    unsigned alone = 0;            // how many of its last reads were
  };

  // Under the mutex:
  Stream& follow(mpool::InodeNumber inode, std::uint64_t offset, std::size_t size);
  Place* find(mpool::InodeNumber inode, std::uint64_t offset, std::size_t size);
  Place* free_place();
  // For a ring; whether anything was prepared on it.
  bool fetch_next(ReadAhead& fetcher, mpool::OpenFile& file, std::uint64_t offset,
                  std::size_t size);
  // False: there is nothing more to be fetched there.
  bool start(ReadAhead& fetcher, Place& place, mpool::OpenFile& file, std::uint64_t offset,
             std::size_t size) noexcept;

  std::mutex mutex_;
  std::vector<Stream> streams_;
  std::uint64_t clock_ = 0;
  mpool::HugeMemory memory_;  // of all places, made when it is needed first
  std::vector<std::unique_ptr<Place>> places_;
};

}  // namespace mpoolfs

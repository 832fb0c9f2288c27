// The memory of data on its way between programs and devices: one bound for all files of a pool.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/base/aligned_buffer.h"
#include "engine/base/tunables.h"

namespace mpool {

// Threads: all functions may be called at the same time. relieve() writes to the device; the rest
// never blocks on one.
class WriteMemory {
 public:
  static constexpr std::size_t kPieceSize = 1u << 20;  // bytes

  // A file with pages in memory.
  class Holder {
   public:
    virtual ~Holder() = default;
    // Writes out and frees pages that are not in use at the moment. Called without locks.
    virtual void write_out_idle() noexcept = 0;
    std::uint64_t last_use() const { return last_use_.load(std::memory_order_relaxed); }

   protected:
    std::atomic<std::uint64_t> last_use_ = 0;  // of WriteMemory::next_use()
  };

  explicit WriteMemory(const Tunables::Writing& tunables = {}) : tunables_(tunables) {}
  WriteMemory(const WriteMemory&) = delete;
  WriteMemory& operator=(const WriteMemory&) = delete;

  const Tunables::Writing& tunables() const { return tunables_; }
  // Returns false and takes nothing beyond the bound, max_bytes.
  bool try_take(std::size_t bytes);
  // As try_take(), up to half of the bound: for buffers that only save time.
  bool try_take_spare(std::size_t bytes);
  // Takes beyond the bound, too: for a thread that called relieve() without success.
  void take(std::size_t bytes) { bytes_ += bytes; }
  void give(std::size_t bytes) noexcept;
  // The number of bytes that one file keeps while it is written; a single write may exceed it.
  std::size_t max_per_file() const { return tunables_.max_per_file; }
  bool has_room(std::size_t bytes) const { return bytes_ + bytes <= tunables_.max_bytes; }
  std::size_t bytes() const { return bytes_; }

  std::uint64_t next_use() { return uses_.fetch_add(1, std::memory_order_relaxed); }
  void enter(std::weak_ptr<Holder> holder);

  // Lets the least recently used holders write out until `bytes` and a reserve are free. One thread
  // at a time; the caller holds no lock of a holder.
  void relieve(std::size_t bytes);

  // Buffers of kPieceSize, of which a few are kept: allocating fresh memory costs more than filling
  // it. Buffers of other sizes are freed.
  AlignedBuffer take_piece();
  void give_piece(AlignedBuffer buffer) noexcept;

  // Bytes of closed files whose transfer to the device is deferred: apart from those of files being
  // written. Returns false and takes nothing beyond max_deferred.
  bool try_defer(std::size_t bytes);
  void end_deferral(std::size_t bytes) noexcept { deferred_ -= bytes; }
  // At least write_out_threshold are deferred.
  bool should_write_out() const { return deferred_ >= tunables_.write_out_threshold; }

 private:
  bool try_take_below(std::size_t limit, std::size_t bytes);
  std::vector<std::shared_ptr<Holder>> oldest_first();

  const Tunables::Writing tunables_;
  std::atomic<std::size_t> bytes_ = 0;
  std::atomic<std::uint64_t> uses_ = 1;
  std::mutex relief_mutex_;  // held while holders write out; comes before their locks
  std::atomic<std::size_t> deferred_ = 0;
  std::mutex mutex_;  // a leaf: guards what follows
  std::vector<std::weak_ptr<Holder>> holders_;
  std::size_t sweep_at_ = 64;  // size at which expired holders are next removed
  std::vector<AlignedBuffer> spare_pieces_;
};

}  // namespace mpool

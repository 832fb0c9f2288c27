// Asynchronous reads and writes of open files on one ring (engine/file/README.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/write_memory.h"
#include "engine/file/prefetch.h"
#include "engine/file/read_plan.h"
#include "engine/file/write_behind.h"
#include "engine/io/io_ring.h"
#include "engine/io/transfer.h"
#include "engine/object/content_writer.h"

namespace mpool {

class FileIo;

// What an asynchronous call has done when it returns.
enum class IoState : std::uint8_t {
  would_block,  // nothing
  pending,      // finished() of the operation follows, once
  done,         // everything
};

// A read in progress. The caller owns it. It and the memory must not move until finished() is
// called; it can be reused from then on, even in finished().
//
// Threads: those of the ring.
class FileRead : private PlannedRead, private Prefetch::Reader {
 public:
  FileRead() = default;

 protected:
  virtual ~FileRead() = default;

  // data: what was read, in the memory of the call or elsewhere, valid until this function returns.
  // error: 0 or an errno. Called from IoRing::run_completions().
  virtual void finished(ConstByteSpan data, int error) noexcept = 0;

 private:
  friend class FileIo;

  // Takes data that another ring has prefetched.
  struct Arrival final : RingOperation {
    explicit Arrival(FileRead& owner) : read(owner) {}
    void completed(std::int32_t) noexcept override;
    FileRead& read;
  };

  void done(int error) noexcept override;
  void fetched(ConstByteSpan data, int error) noexcept override;
  void wake() noexcept override;

  FileIo* io_ = nullptr;
  ConstByteSpan data_;
  Arrival arrival_{*this};
};

// A write in progress; as FileRead.
class FileWrite : private DeviceTransfer {
 public:
  FileWrite() = default;

 protected:
  ~FileWrite() override = default;

  // error: 0 or an errno; later writes, fsync and close of the file fail with it, too. Called from
  // IoRing::run_completions(), or from FileIo::abandon().
  virtual void finished(int error) noexcept = 0;

 private:
  friend class FileIo;

  void done(int error) noexcept override;

  FileIo* io_ = nullptr;
  StartedWrite write_;
};

// Where an asynchronous call runs: on the ring of `io`, on whose thread the call is made.
template <typename Operation>
struct OnRing {
  FileIo& io;
  Operation& operation;
};

// The result of an asynchronous read.
struct ReadResult {
  IoState state = IoState::would_block;
  ConstByteSpan data;        // done: what was read, in the memory of the call or elsewhere
  Prefetch::Loan loan = {};  // keeps `data` valid
};

// What the rings of one pool share.
//
// Threads: on_reads_active() before the first write; the rest belongs to FileIo.
class FileIoGroup {
 public:
  // rings: how many use it. `budget`, the pool's, must outlive it.
  FileIoGroup(std::size_t rings, WriteMemory& budget, const Tunables& tunables = {})
      : tunables_(tunables), prefetched_(rings, budget, tunables.prefetch), budget_(budget) {}

  // Those of the pool.
  const Tunables& tunables() const noexcept { return tunables_; }

  // Tells whether the pool's devices are read by others than the callers of FileIo: the kernel, in
  // native reads. Must not block; called by all rings.
  void on_reads_active(std::function<bool()> callback) { reads_active_ = std::move(callback); }

 private:
  friend class FileIo;

  const Tunables tunables_;
  Prefetch::Store prefetched_;
  WriteMemory& budget_;
  std::function<bool()> reads_active_;
};

// One ring with the reads and writes that are in flight on it. OpenFile::read() and write() use it.
//
// Threads: the ring's.
class FileIo {
 public:
  // post: completes an operation, with result 0, on the ring's thread; called on the threads of
  // other rings of the group. `ring` and `group` must outlive it.
  using Post = std::function<void(RingOperation&)>;
  FileIo(IoRing& ring, FileIoGroup& group, Post post);
  FileIo(const FileIo&) = delete;
  FileIo& operator=(const FileIo&) = delete;

  // Reads at most `length` bytes at `offset` into `memory` (as ReadSource::plan_read()). With
  // Buffering::device the caller does not cache data: sequential reads are prefetched. Throws Error
  // of the source, or when no transfer can be started.
  ReadResult read(ReadSource& source, Buffering buffering, std::uint64_t offset, std::size_t length,
                  ByteSpan memory, FileRead& operation);
  // Goes on with ContentWriter::start_write(). done: the data is taken, and may be in memory only.
  // Throws Error when the transfer cannot be started; the write has then been ended.
  IoState write(StartedWrite started, FileWrite& operation);

  // Operations whose finished() follows.
  std::size_t pending() const noexcept { return pending_; }
  // Transfers without such an operation: writes behind, and prefetches.
  std::size_t background() const noexcept { return write_behind_.pending() + prefetch_.pending(); }
  // The ring completes no more operations: writes in progress have failed with `error`.
  void abandon(int error) noexcept;
  // The ring is idle: frees memory.
  void trim() noexcept;

 private:
  friend class FileRead;
  friend class FileWrite;

  std::size_t max_writes_behind() const;

  IoRing& ring_;
  FileIoGroup& group_;
  const Post post_;
  Prefetch prefetch_;
  WriteBehind write_behind_;
  std::vector<FileWrite*> writes_;  // pending ones
  std::size_t pending_ = 0;
};

}  // namespace mpool

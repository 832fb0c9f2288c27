// A log of any length: a chain of mlogs read as one sequence of bytes (filesystem.md, "Append-only
// files").
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "engine/mlog/mlog.h"
#include "engine/pool/pool.h"

namespace mpool {

// The mlogs of one append-only file, open. Content = the payloads of all records, one after the
// other.
//
// Threads: all functions may be called at the same time; appends are ordered among themselves.
class Log {
 public:
  // Asked for another mlog when the last one is full (or there is none): allocates and commits it
  // and makes the owner's record of it durable. Called by append() with no lock of readers held.
  using AddMlog = std::function<ObjectRecord()>;

  // Opens and validates the chain; the objects are pinned in the pool until the Log ends.
  // Errors: those of Mlog::open; ENOENT when an mlog does not exist.
  Log(Pool& pool, std::span<const ObjectId> mlogs, AddMlog add_mlog);
  ~Log();  // what was not synced is lost

  // Appends one record (all or nothing); returns the size of the content after it. EFBIG when it
  // would not fit in an empty mlog.
  std::uint64_t append(ConstByteSpan record);
  // Makes everything appended before durable. Concurrent calls share a flush.
  void sync();

  // sync() in two steps, so that several logs share a flush of each device. write() hands what was
  // appended before the call to the device; nullopt when it is durable already. When the device was
  // flushed after that, flushed() notes that what was written is durable. Errors: those of sync().
  struct Written {
    Mlog* mlog;
    Mlog::Written in_mlog;
    std::uint64_t appends;
    Device& device() const { return *in_mlog.device; }
  };
  std::optional<Written> write();
  void flushed(const Written& written);
  bool dirty() const;  // something was appended since the last sync

  std::uint64_t size() const;  // bytes of content
  // Reads content at any offset; returns the bytes read, fewer than asked only at the end.
  std::size_t read(std::uint64_t offset, ByteSpan into) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mpool

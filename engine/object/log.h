// A log of any length: a chain of mlogs read as one sequence of bytes (engine/object/README.md,
// "Logs").
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/mlog/mlog.h"
#include "engine/object/content_writer.h"
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
  // size: bytes of the content, all of which are durable.
  using AddMlog = std::function<ObjectRecord(std::uint64_t size)>;

  // Opens the chain; the objects are pinned in the pool until the Log ends. Of an extent counts the
  // object, and where its content begins (file_offset; 0: unknown). least_size: bytes of content
  // that are known to have been durable. The last mlog is validated, and each before it whose end
  // is not recorded; the others when they are read first. A chain that is damaged (a block or an
  // mlog cannot be read or is missing, or content is shorter than it was) is opened up to there.
  Log(Pool& pool, std::span<const Extent> mlogs, std::uint64_t least_size, AddMlog add_mlog);
  ~Log();  // what was not synced is lost

  // Empty: no damage was found up to now. Otherwise which mlog and block are damaged, and where;
  // nothing can be appended. readable_size(): the bytes of content before that place.
  std::string damage() const;
  std::uint64_t readable_size() const;
  // EIO for a damaged log.
  void check_undamaged() const;

  // Appends one record (all or nothing); returns the size of the content after it. EFBIG when it
  // would not fit in an empty mlog; EIO when the log is damaged.
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
  bool dirty() const;  // something was appended since the last sync, or found by opening
  // Counts appends, what opening found as one; and tells whether the first so many are durable.
  std::uint64_t appends() const;
  bool are_durable(std::uint64_t appends) const;

  std::uint64_t size() const;  // bytes of content; of a chain that was opened in part, of that
  // The same, but of a damaged log no less than it once had.
  std::uint64_t known_size() const;
  // Reads content at any offset; returns the bytes read, fewer than asked only at the end, or
  // before a damaged place. EIO at a damaged place.
  std::size_t read(std::uint64_t offset, ByteSpan into) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mpool

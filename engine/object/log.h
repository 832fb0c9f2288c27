// A log of any length: a chain of mlogs read as one sequence of bytes (engine/object/README.md,
// "Logs").
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/mlog/mlog.h"
#include "engine/object/content_writer.h"
#include "engine/refs/references.h"

namespace mpool {

// The open mlogs of one append-only file. Content = the payloads of all records, concatenated.
//
// Threads: all functions may be called at the same time; appends are ordered among themselves.
class Log {
 public:
  // Called when the last mlog is full (or none exists): allocates and commits another mlog and
  // makes the owner's record of it durable. append() calls it with no lock of readers held. size:
  // bytes of the content, all of which are durable.
  using AddMlog = std::function<ObjectRecord(std::uint64_t size)>;

  // Opens the chain; the objects are held (ObjectHolder::log) until the Log ends. Of an extent only
  // the object and the start of its content (file_offset; 0: unknown) are used. least_size: content
  // bytes known to have been durable. Validates the last mlog, and each earlier one whose end is
  // not recorded; the others are validated when they are first read. A damaged chain (a block or an
  // mlog is missing or cannot be read, or content is shorter than before) is opened up to the
  // damage.
  Log(References& references, std::span<const Extent> mlogs, std::uint64_t least_size,
      AddMlog add_mlog);
  ~Log();  // unsynced records are lost

  // Empty: no damage found so far. Otherwise names the damaged mlog and block and the location, and
  // appends fail. readable_size(): the bytes of content before the damage.
  std::string damage() const;
  std::uint64_t readable_size() const;
  // EIO for a damaged log.
  void check_undamaged() const;

  // Appends one record (all or nothing); returns the new size of the content. EFBIG when it would
  // not fit in an empty mlog; EIO when the log is damaged.
  std::uint64_t append(ConstByteSpan record);
  // Makes all earlier appends durable. Concurrent calls share a flush.
  void sync();

  // sync() in two steps, so that several logs share a flush of each device. write() hands
  // everything appended before the call to the device; nullopt when it is durable already. After
  // the caller flushed the device, flushed() marks the written data durable. Errors: those of
  // sync().
  struct Written {
    Mlog* mlog;
    Mlog::Written in_mlog;
    std::uint64_t appends;
    Device& device() const { return *in_mlog.device; }
  };
  std::optional<Written> write();
  void flushed(const Written& written);
  bool dirty() const;  // appends since the last sync, or content found by opening
  // The number of appends, where content found by opening counts as one; and whether the first so
  // many are durable.
  std::uint64_t appends() const;
  bool are_durable(std::uint64_t appends) const;

  std::uint64_t size() const;  // bytes of content; of a chain that was opened in part, of that
  // The same, but for a damaged log at least its size before the damage.
  std::uint64_t known_size() const;
  // Reads content at any offset; returns the bytes read, fewer than requested only at the end, or
  // before a damaged place. EIO at a damaged place.
  std::size_t read(std::uint64_t offset, ByteSpan into) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mpool

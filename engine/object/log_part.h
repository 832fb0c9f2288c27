// One mlog of the chain of a Log, and a reader in it. Internal to engine/object.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/mlog/mlog.h"
#include "engine/refs/references.h"

namespace mpool {

// An mlog of the chain, held. Positions in it are counted in bytes of its payload.
//
// The mlog is opened, which reads all of it, when it is read first; at once where its length is not
// recorded. Threads: all functions may be called at the same time. Errors: those of Mlog::open()
// where it is opened; ENOENT, or EIO for a missing device, from the constructor.
class LogPart {
 public:
  // `length`: bytes of payload as recorded; nullopt: found by opening.
  LogPart(References& references, ObjectId object, std::uint64_t content_start,
          std::optional<std::uint64_t> length);

  Mlog& mlog() const;  // opens it
  const std::string& name() const { return location_.name; }
  std::uint64_t length() const { return length_; }  // bytes of payload, recorded or at open
  // Its damage, with its name; empty: none. Opens it.
  std::string damage() const;
  // For the case that its end was lost: it had `length` bytes of payload. Opens it.
  std::string describe_lost_end(std::uint64_t length) const;

  struct IndexEntry {
    std::uint64_t payload = 0;
    MlogPosition position;
  };
  // The last known position at or before `payload`.
  IndexEntry entry_before(std::uint64_t payload) const;
  // Adds a position of a reader to the index. Not every position must be added.
  void learn(std::uint64_t payload, MlogPosition position) const;

  const ObjectId id;
  const std::uint64_t start;  // in the content

 private:
  const References::Hold hold_;
  const ObjectRecord record_;
  const MlogLocation location_;
  const std::optional<std::uint64_t> recorded_length_;
  std::uint64_t length_ = 0;  // constant after construction

  mutable std::mutex open_mutex_;
  mutable std::unique_ptr<Mlog> mlog_;
  mutable std::atomic<bool> sound_ = false;  // damage() found none

  mutable std::mutex index_mutex_;         // never held together with open_mutex_
  mutable std::vector<IndexEntry> index_;  // ascending, about kIndexInterval apart
};

// A reader in a part with the record it read last. Used by one thread at a time.
class LogCursor {
 public:
  LogCursor(const LogPart& part, const LogPart::IndexEntry& location)
      : part_(part), reader_(part.mlog()), start_(location.payload) {
    reader_.seek(location.position);
  }

  const LogPart& part() const { return part_; }
  // The first byte of payload that this cursor can still return.
  std::uint64_t start() const { return start_; }

  // Payload bytes [from, from + length); start() <= from, and all of them were appended. Moves
  // `into` behind the bytes read, also when it throws.
  void read(std::uint64_t from, std::size_t length, ByteSpan& into);

 private:
  void next_record();

  const LogPart& part_;
  MlogReader reader_;
  std::vector<std::byte> record_;  // payload [start_, start_ + size)
  std::uint64_t start_;
};

}  // namespace mpool

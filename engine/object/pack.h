// A pack that takes records: an mlog with the content of small files (engine/object/README.md,
// "Packs").
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/write_memory.h"
#include "engine/format/media.h"
#include "engine/format/object_id.h"
#include "engine/mlog/mlog.h"
#include "engine/object/packed_record.h"

namespace mpool {

// Room is taken first, then a record is put into it: the position of a record is known before a
// byte of it is written, and no call but write() and the constructor does I/O. Content stays in
// memory, where read() finds it, until write() has handed it to the device.
//
// Threads: all functions may be called at the same time. mutex_ is a leaf and not held during I/O;
// one thread at a time writes.
class Pack {
 public:
  // Opens the log of this class, which reads all of it: records are appended behind those found. It
  // must be committed. `memory` must outlive the pack. Errors: those of Mlog::open().
  Pack(ObjectId id, MediaClass media_class, const MlogLocation& log, WriteMemory& memory);
  ~Pack();
  Pack(const Pack&) = delete;
  Pack& operator=(const Pack&) = delete;

  ObjectId id() const { return id_; }
  MediaClass media_class() const { return media_class_; }
  const MlogLocation& log() const { return log_; }
  std::uint64_t used() const;  // bytes of the log with records, those in memory included

  // A user has room in the pack. enter() and grow() fail when there is not enough for that many
  // further bytes (max_packed_size()), or the pack is closed.
  bool enter(std::uint64_t bytes);
  bool grow(std::uint64_t bytes);
  // The user has no room any more; `unused`: bytes of it without a record.
  void leave(std::uint64_t unused);
  bool has_room(std::uint64_t bytes) const;
  // No further user enters. close_if_unused() does that only if there is none; returns whether it
  // is closed and unused. Content in memory may still be written.
  void close();
  bool close_if_unused();

  // Puts a record into the room of a user and returns its position. `deferred`: the bytes taken of
  // WriteMemory::try_defer() for it, given back when it is written; `room`: that of the user, which
  // ends. EIO after a failed write().
  std::uint64_t append(std::vector<std::byte> content, std::uint64_t room, std::size_t deferred);
  // Reads bytes of the content of a record, from memory or the device. Errors: read_packed().
  void read(const PackedRecord& record, std::uint64_t offset, ByteSpan into) const;
  // True while the content of the record may be in memory only. Non-blocking.
  bool holds(std::uint64_t position) const;

  // Hands the record at that position, and everything before it, to the device; nullopt: it is
  // durable. When the device was flushed since, flushed() notes that. Errors: those of Mlog. After
  // ENOSPC the next call tries again; after any other error the pack takes no records.
  std::optional<Mlog::Written> write(std::uint64_t position);
  void flushed(const Mlog::Written& written);

 private:
  struct Held {
    std::vector<std::byte> content;
    std::uint64_t end = 0;  // of the log, with this record
    std::size_t deferred = 0;
  };
  using HeldRecords = std::map<std::uint64_t, std::shared_ptr<const Held>>;  // by position

  std::uint64_t free_locked() const;
  bool read_held(const PackedRecord& record, std::uint64_t offset, ByteSpan into) const;
  std::shared_ptr<const Held> find(std::uint64_t position) const;
  HeldRecords::value_type next_from(std::uint64_t position) const;
  void forget_written(std::uint64_t position);

  const ObjectId id_;
  const MediaClass media_class_;
  const MlogLocation log_;
  WriteMemory& memory_;
  const std::unique_ptr<Mlog> mlog_;
  std::mutex write_mutex_;               // held while one thread writes; before mutex_
  std::uint64_t written_position_ = 0;   // guarded by write_mutex_: those before it are written
  Mlog::Ticket written_ticket_ = 0;      // guarded by write_mutex_: of the last of them
  std::uint64_t appended_position_ = 0;  // guarded by write_mutex_: mlog_ has the records before it
  Mlog::Ticket appended_ticket_ = 0;     // guarded by write_mutex_: of the last of them

  mutable std::mutex mutex_;  // guards what follows
  std::uint64_t end_ = 0;     // bytes of the blocks begun
  std::uint64_t fill_ = 0;    // bytes used in the last block; 0: a new block comes next
  std::uint64_t reserved_ = 0;
  std::size_t users_ = 0;
  bool closed_ = false;
  std::string failure_;  // of write()
  HeldRecords held_;
};

// A user's room in some pack, for the content of one file.
//
// Threads: prepare() may be called at any time, the rest by one thread at a time.
class PackRoom {
 public:
  PackRoom() = default;
  virtual ~PackRoom() = default;
  PackRoom(const PackRoom&) = delete;
  PackRoom& operator=(const PackRoom&) = delete;

  // Bytes: longer content does not go into a pack.
  virtual std::uint64_t max_length() const = 0;
  // Takes room for content of that length, or keeps it. Non-blocking; false: call prepare(), and
  // try again.
  virtual bool try_reserve(std::uint64_t length) = 0;
  // Makes room that try_reserve() can take. ENOSPC, EIO and others of the pool.
  virtual void prepare(std::uint64_t length) = 0;

  // Content in a pack; a null pack: none.
  struct Packed {
    std::shared_ptr<Pack> pack = nullptr;
    std::uint64_t position = 0;
  };
  // Puts the content, for which there is room, into the pack: it can be read there, and
  // Pack::write() writes it. nullopt, and nothing is done: it would block. Once.
  virtual std::optional<Packed> try_append(std::vector<std::byte>& content) = 0;
  // The same; where the content cannot stay in memory it is handed to the device. Errors:
  // Pack::write().
  virtual Packed append(std::vector<std::byte> content) = 0;
};

}  // namespace mpool

// The objects of a pool as programs use them (engine/client/README.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/client/client_log.h"
#include "engine/client/client_mdc.h"
#include "engine/pool/pool.h"

namespace mpool {

// Mblocks, mlogs and pairs of mlogs of an active pool, from their allocation to their deletion, for
// programs that know them by id.
//
// Threads: all functions may be called at the same time. They may block on device I/O, never on
// another caller's decision. Lock order: the mutex of an object, then mutex_, which is not held
// during I/O.
// Errors: Error. ENOENT no such object, EINVAL an id of another type, EBUSY an object in use; those
// of Pool.
class ClientPool {
 public:
  // The greatest sum of one write or read, in bytes.
  static constexpr std::size_t kMaxTransfer = std::size_t{32} << 20;

  explicit ClientPool(Pool& pool) : pool_(pool) {}  // the pool must outlive it
  // Aborts uncommitted objects. Nothing is open any more.
  ~ClientPool();
  ClientPool(const ClientPool&) = delete;
  ClientPool& operator=(const ClientPool&) = delete;

  Pool& pool() const { return pool_; }

  // Of an uncommitted object: durable on return, content and existence. Commits of several threads
  // share flushes.
  void commit(ObjectId id, ObjectType type);
  void abort(ObjectId id, ObjectType type);
  // Of a committed one, durable on return. EBUSY while it is open, mapped (pinned) or being read.
  void remove(ObjectId id, ObjectType type);
  // Whatever the type; ids of none are taken for those of mblocks.
  void commit(ObjectId id) { commit(id, type_of(id)); }
  void abort(ObjectId id) { abort(id, type_of(id)); }
  void remove(ObjectId id) { remove(id, type_of(id)); }

  // --- mblocks ---
  struct Mblock {
    ObjectId id;
    MediaClass media_class = MediaClass::capacity;
    std::uint64_t capacity = 0;        // bytes
    std::uint64_t written_length = 0;  // bytes
    bool committed = false;
  };
  Mblock allocate_mblock(MediaClass media_class, SpacePolicy policy);
  Mblock mblock(ObjectId id) const;  // committed or not
  // Appends whole pages from page-aligned memory to an uncommitted mblock. Transferred without a
  // copy; durable by the commit. EINVAL for memory that is not so, a sum of 0 or above
  // kMaxTransfer, or beyond the capacity. After a failure of the device the mblock can only be
  // aborted.
  void write_mblock(ObjectId id, std::span<const ConstByteSpan> parts);
  // Reads whole pages of a committed mblock at a page-aligned offset. EINVAL beyond the written
  // length: there are no short reads.
  void read_mblock(ObjectId id, std::uint64_t offset, std::span<const ByteSpan> parts) const;

  // --- mlogs ---
  struct Log {
    ObjectId id;
    MediaClass media_class = MediaClass::capacity;
    Uuid uuid;
    std::uint64_t capacity = 0;  // bytes
    std::uint64_t generation = 0;
    bool committed = false;
  };
  // `capacity`: bytes, rounded up to whole zones; 0: one zone.
  Log allocate_log(MediaClass media_class, std::uint64_t capacity, SpacePolicy policy);
  Log log(ObjectId id) const;

  // Opens a committed mlog: one that is open already is opened once more (the same position of
  // reading); EINVAL with an option that it was not opened with, or if it is not committed; EBUSY
  // while it is open as part of a pair. Otherwise as Mlog::open. Each open needs a close_log().
  std::shared_ptr<ClientLog> open_log(ObjectId id, ClientLog::Options options);
  // Makes durable what was appended, then ends one open, also when it throws.
  void close_log(const std::shared_ptr<ClientLog>& log);

  // Opens a pair of committed mlogs as MDC; one that is open already, and has not failed, is opened
  // once more (the same position of reading). EINVAL for a pair whose active log cannot be told,
  // EBUSY while one of them is open as a log, ENODATA for a damaged one. Each open needs a
  // close_mdc().
  std::shared_ptr<ClientMdc> open_mdc(ObjectId first, ObjectId second);
  // True if the first record of a pair satisfies `condition`; false without records. Nothing is
  // written, also not what a crash interrupted. Errors as of open_mdc().
  bool first_record_is(ObjectId first, ObjectId second, bool (*condition)(ConstByteSpan record));
  // As close_log(), and ClientMdc::end(). Of a failed MDC: ends the open without an error.
  void close_mdc(const std::shared_ptr<ClientMdc>& mdc);

 private:
  // An object that is allocated and not committed.
  struct Uncommitted {
    explicit Uncommitted(const ObjectRecord& allocated) : object(allocated) {}
    std::mutex mutex;     // held during a write, a commit and an abort
    ObjectRecord object;  // written_length: bytes written so far
    bool ended = false;   // committed or aborted
    bool failed = false;  // a write failed
  };
  // An open mlog, or an open pair, which both of its ids refer to.
  struct Open {
    explicit Open(std::vector<ObjectId> of) : ids(std::move(of)) {}
    const std::vector<ObjectId> ids;
    std::mutex mutex;  // held while it is opened and closed
    std::shared_ptr<ClientLog> log;
    std::shared_ptr<ClientPair> pair;
    unsigned opens = 0;
    bool ended = false;  // not in the table any more
  };

  static ObjectType type_of(ObjectId id) {
    return id.is_mlog() ? ObjectType::mlog : ObjectType::mblock;
  }
  ObjectRecord allocate(ObjectType type, std::uint64_t capacity, MediaClass media_class,
                        SpacePolicy policy);
  // An uncommitted object with its mutex held.
  struct Locked {
    std::shared_ptr<Uncommitted> own;
    std::unique_lock<std::mutex> lock;
  };
  struct State {
    ObjectRecord object;
    bool committed = false;
  };
  void check_type(ObjectId id, ObjectType type) const;
  template <typename Span>
  std::uint64_t check_transfer(ObjectId id, std::span<const Span> parts) const;
  std::shared_ptr<Uncommitted> uncommitted(ObjectId id) const;
  Locked lock_uncommitted(ObjectId id, ObjectType type) const;
  void check_sound(ObjectId id, const Uncommitted& own) const;
  State state_of(ObjectId id, ObjectType type) const;
  void end(ObjectId id, Uncommitted& own);
  std::shared_ptr<Open> entry_for(const std::vector<ObjectId>& ids);
  std::shared_ptr<Open> entry_of(ObjectId id) const;
  void end_if_unused(const std::shared_ptr<Open>& open);
  void flush_written(const Open& open) const noexcept;
  std::string describe(ObjectId id) const;

  Pool& pool_;
  mutable std::mutex mutex_;  // guards the tables
  std::unordered_map<ObjectId, std::shared_ptr<Uncommitted>> uncommitted_;
  std::unordered_map<ObjectId, std::shared_ptr<Open>> open_;
};

}  // namespace mpool

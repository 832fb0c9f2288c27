// The objects of one MDC in memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include "engine/format/records.h"

namespace mpool {

// The life-cycle state of an object. A compaction of the MDC writes the "live" objects.
enum class ObjectState : std::uint8_t {
  allocated,            // has an id and zones; not on the media
  committing,           // live; its OCREATE is in the log, perhaps not durable
  committed,            // live; visible to users
  marked_for_deletion,  // live; visible to users, chosen for deletion: can no longer be pinned
  deleting,             // its ODELETE is in the log, perhaps not durable
  uncertain,  // a failed write left unknown whether its record is on the media: never changed again
};

// Threads: all functions may be called at the same time. The internal lock is held briefly, never
// during I/O, and no other lock is taken under it (engine/pool/locking.md). State changes that must
// be atomic with an append to the MDC are made under the update mutex of the MDC. Memory: 40 bytes
// for an object besides its id; UUIDs of mlogs are separate.
class ObjectTable {
 public:
  void reserve(std::size_t objects);

  // Returns false (nothing changed) when the id is present already.
  bool insert(const ObjectRecord& object, ObjectState state);
  // Replaces a committed object (OUPDATE), keeping its pins; false when there is none.
  bool replace(const ObjectRecord& object);
  // Removes the object; nullopt when there is none.
  std::optional<ObjectRecord> erase(ObjectId id);
  // The same if it is in the state `expected`.
  std::optional<ObjectRecord> erase_if(ObjectId id, ObjectState expected);

  // committed or marked_for_deletion
  std::optional<ObjectRecord> find_committed(ObjectId id) const;
  std::optional<ObjectState> state(ObjectId id) const;

  // The object must exist.
  void set_state(ObjectId id, ObjectState state);
  // allocated -> committing, with the written length of `object`. False when it is not allocated.
  bool begin_commit(const ObjectRecord& object);
  // committed -> marked_for_deletion. 0, ENOENT, or EBUSY when it is pinned.
  int mark_for_deletion(ObjectId id);
  // Returns the previous generation; nullopt when no such object is live.
  std::optional<std::uint64_t> set_generation(ObjectId id, std::uint64_t generation);
  // The same for the written length of an mblock.
  std::optional<std::uint64_t> set_written_length(ObjectId id, std::uint64_t length);

  bool pin(ObjectId id);  // false: not committed
  void unpin(ObjectId id) noexcept;

  // Live objects in the order of their ids; a snapshot.
  std::vector<ObjectRecord> live() const;
  // Appends all objects that find_committed() finds to `into`, unordered.
  void collect_committed(std::vector<ObjectRecord>& into) const;

  std::size_t live_count() const { return live_count_.load(std::memory_order_relaxed); }
  // The number of live objects that are mlogs.
  std::size_t live_mlog_count() const { return live_mlog_count_.load(std::memory_order_relaxed); }
  // Bytes of the records of all objects, allocated ones included, with their descriptors.
  std::uint64_t record_bytes() const { return record_bytes_.load(std::memory_order_relaxed); }

 private:
  struct Entry {
    std::uint64_t first_zone;
    std::uint64_t generation;
    std::uint64_t written_length;
    std::uint32_t zone_count;
    std::uint32_t pins;
    MediaClass media_class;
    ObjectState state;
  };
  static_assert(sizeof(Entry) + sizeof(ObjectId) <= 64);
  using Entries = std::unordered_map<ObjectId, Entry>;

  static bool is_live(ObjectState state);
  static bool is_found(ObjectState state);
  static Entry make_entry(const ObjectRecord& object, ObjectState state);
  ObjectRecord record_of(const Entries::value_type& entry) const;
  void count_live(ObjectId id, bool more);
  void change_state(ObjectId id, Entry& entry, ObjectState state);
  ObjectRecord take(Entries::iterator at);

  mutable std::shared_mutex mutex_;
  Entries entries_;
  std::unordered_map<ObjectId, Uuid> uuids_;  // of mlogs
  std::atomic<std::size_t> live_count_ = 0;
  std::atomic<std::size_t> live_mlog_count_ = 0;
  std::atomic<std::uint64_t> record_bytes_ = 0;
};

}  // namespace mpool

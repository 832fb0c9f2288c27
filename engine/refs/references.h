// Decides when an object of the pool can be deleted (engine/refs/README.md).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <set>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/pool/pool.h"
#include "engine/refs/file_holders.h"

namespace mpool {

// A user of an object besides the file that it belongs to.
enum class ObjectHolder : std::uint8_t {
  log,            // an open log: one of its mlogs
  open_object,    // an object that is open by its id
  map,            // a collection that it is a member of
  failed_change,  // a change that could not be recorded: readers may still use its mblocks
  pack_reader,    // an open file with content in a pack, which may be moved elsewhere meanwhile
};
inline constexpr std::size_t kObjectHolderCount = 5;
std::string_view to_string(ObjectHolder holder);

// The objects of a pool that no record of the tree names any more, until they are deleted; and the
// users that some objects have besides.
//
// Threads: all functions may be called at the same time, but release() and remove() by one thread
// at a time. mutex_ is not held during I/O; only the locks of object tables are taken under it.
class References {
 public:
  enum class Deletes : std::uint8_t {
    at_once,
    held,  // unknown readers may read any object: processes of a killed daemon, its views
  };
  // The pool must outlive it.
  References(Pool& pool, Deletes deletes) : pool_(pool), deletes_(deletes) {}
  References(const References&) = delete;
  References& operator=(const References&) = delete;

  Pool& pool() const { return pool_; }

  // As long as it lives the object is not deleted.
  class Hold {
   public:
    // ENOENT unless the object is committed; for open_object and map also when it was released.
    Hold(References& references, ObjectHolder holder, ObjectId object);
    ~Hold();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    References& references_;
    const ObjectHolder holder_;
    const ObjectId object_;
  };
  // Holds several objects, each as often as it is given: all, or none. Errors as Hold.
  class GroupHold {
   public:
    GroupHold(References& references, ObjectHolder holder, std::vector<ObjectId> objects);
    ~GroupHold();
    GroupHold(const GroupHold&) = delete;
    GroupHold& operator=(const GroupHold&) = delete;

    std::span<const ObjectId> objects() const { return objects_; }

   private:
    void end(std::size_t count);

    References& references_;
    const ObjectHolder holder_;
    const std::vector<ObjectId> objects_;
  };
  // Objects that are not committed and must stay until the end of the mount.
  void keep_failed(std::span<const ObjectId> objects);

  void set_deletes(Deletes deletes);

  // The records on the media do not name these objects any more. Returns those that can be deleted,
  // also of earlier calls, for remove(); the others stay in waiting(). Objects that do not exist
  // are passed over.
  std::vector<ObjectId> release(std::span<const ObjectId> objects);
  // Deletes objects returned by release(); their zones become free. After an error, of
  // Pool::remove(), the next release() returns them again.
  void remove(std::span<const ObjectId> objects);
  // Released, and held.
  std::vector<ObjectId> waiting() const;

  struct Counts {
    Deletes deletes = Deletes::at_once;
    std::size_t waiting = 0;                             // objects
    std::array<std::size_t, kObjectHolderCount> held{};  // objects, by ObjectHolder
  };
  Counts counts() const;

 private:
  using Users = std::array<std::uint32_t, kObjectHolderCount>;

  void begin_hold(ObjectHolder holder, ObjectId object);
  void end_hold(ObjectHolder holder, ObjectId object);
  void add(ObjectHolder holder, ObjectId object);  // the caller holds mutex_
  void drop(ObjectHolder holder, ObjectId object);

  Pool& pool_;
  mutable std::mutex mutex_;
  Deletes deletes_;
  std::unordered_map<ObjectId, Users> users_;  // of objects with any
  std::set<ObjectId> waiting_;
};

}  // namespace mpool

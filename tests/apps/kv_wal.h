// The write-ahead log of a store: the changes that no table has yet, on an mlog.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "tests/apps/calls.h"

namespace apps {

// nullopt: the key is deleted.
using Value = std::optional<std::string>;

struct Change {
  std::uint64_t sequence = 0;  // grows with every change of a store
  std::string key;
  Value value;
};

// An open log. Threads: sync() at any time; the other functions one at a time.
class Wal {
 public:
  // Allocates a log of at least that many bytes; commit() makes it an object of the pool.
  static std::uint64_t allocate(const Pool& pool, std::size_t capacity);
  static void commit(const Pool& pool, std::uint64_t id);

  Wal(const Pool& pool, std::uint64_t id);
  ~Wal();
  Wal(const Wal&) = delete;
  Wal& operator=(const Wal&) = delete;

  // All changes, the oldest first.
  void replay(const std::function<void(Change)>& apply);
  // Not durable before sync(). False: no room.
  bool append(const Change& change);
  void sync();
  // Empties it; durable on return.
  void erase();

 private:
  mpool_mlog* log_ = nullptr;
};

}  // namespace apps

// A small key-value store on the objects of a pool: a log-structured merge tree with a write-ahead
// log, sorted tables and a manifest (tests/apps/README.md, "The store"). It uses the public C
// header only, and does everything in the threads of its callers.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/apps/errors.h"

namespace apps {

// The ids of the manifest: all that a program has to keep.
struct StoreId {
  std::array<std::uint64_t, 2> manifest{};
};

struct StoreOptions {
  std::size_t memtable_bytes = std::size_t{256} << 10;  // more are flushed
  std::size_t table_bytes = std::size_t{512} << 10;     // at most the size of an mblock
  std::size_t block_bytes = std::size_t{4} << 10;
  std::size_t wal_bytes = std::size_t{1} << 20;
  std::size_t manifest_bytes = std::size_t{1} << 20;   // of each log
  std::size_t manifest_limit = std::size_t{64} << 10;  // more are compacted
  std::size_t max_flushed_tables = 4;                  // put() compacts when there are more
};

// Threads: all functions may be called at the same time.
// Errors: CallError. After an error of a change every later one fails with ESHUTDOWN: the store is
// opened again, and has everything that was durable. EFBIG an entry that no log or table can have,
// without effect.
class Store {
 public:
  static StoreId create(const std::string& pool, const StoreOptions& options);
  // Of a store that is not open: deletes all its objects.
  static void destroy(const std::string& pool, const StoreId& id, const StoreOptions& options);

  // Opens it, and recovers it. A store is open once at a time.
  Store(const std::string& pool, const StoreId& id, const StoreOptions& options);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  enum class Sync { now, later };  // later: durable by a later sync, flush or destruction
  void put(const std::string& key, const std::string& value, Sync sync);
  void remove(const std::string& key, Sync sync);
  void sync();
  std::optional<std::string> get(const std::string& key) const;
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  // At most `limit` pairs from that key on, of one moment.
  Pairs scan(const std::string& from, std::size_t limit) const;

  // Writes all changes into tables.
  void flush();
  // Merges the tables of flushes into the others. put() and remove() do so by themselves.
  void compact();

  bool failed() const;  // a change did

  struct Stats {
    std::size_t flushed_tables = 0;  // level 0
    std::size_t merged_tables = 0;   // level 1
    std::size_t unowned = 0;         // objects to be deleted
    std::uint64_t manifest_compactions = 0;
    std::uint64_t recovered_changes = 0;  // from the write-ahead log, when it was opened
    std::uint64_t removed_objects = 0;    // left by a crash, when it was opened
  };
  Stats stats() const;
  // All objects of the store, and nothing else that it ever had.
  std::vector<std::uint64_t> objects() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace apps

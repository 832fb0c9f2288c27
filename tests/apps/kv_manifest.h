// The manifest of a store: its tables, its log, and what is to be deleted, on an MDC.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "tests/apps/calls.h"

namespace apps {

enum class ObjectKind : std::uint8_t { mblock, mlog };

struct TableInfo {
  std::uint64_t id = 0;  // of the mblock
  // 0: written by a flush, may overlap others; 1: the only table with its keys of this level.
  std::uint32_t level = 0;
  std::uint64_t last_sequence = 0;  // no change in it is newer; orders the tables of level 0
  std::string first_key, last_key;
};

// One record: all of it happens, or nothing.
struct Edit {
  std::vector<TableInfo> added = {};
  // Deleted by the next recovery, unless they are added, or forgotten, before.
  std::map<std::uint64_t, ObjectKind> unowned = {};
  std::vector<std::uint64_t> forgotten = {};  // of those: they are deleted
  std::optional<std::uint64_t> wal = {};
  std::optional<std::uint64_t> flushed = {};  // the newest change that is in a table
};

// Threads: apply() at any time.
class Manifest {
 public:
  using Ids = std::array<std::uint64_t, 2>;
  struct State {
    std::map<std::uint64_t, TableInfo> tables;
    std::map<std::uint64_t, ObjectKind> unowned;
    std::uint64_t wal = 0;
    std::uint64_t flushed = 0;
    void apply(const Edit& edit);
  };
  enum class Sync { now, later };

  // A new, empty one.
  static Ids create(const Pool& pool, std::size_t capacity);
  static void destroy(const Pool& pool, const Ids& ids);

  // `limit`: bytes, above which it is compacted.
  Manifest(const Pool& pool, const Ids& ids, std::size_t limit);
  ~Manifest();
  Manifest(const Manifest&) = delete;
  Manifest& operator=(const Manifest&) = delete;

  State state() const;
  void apply(const Edit& edit, Sync sync);
  std::uint64_t compactions() const;

 private:
  bool append(const Edit& edit, Sync sync);
  void compact();

  const std::size_t limit_;
  mpool_mdc* mdc_ = nullptr;
  mutable std::mutex mutex_;  // guards all below, and the order of records
  State state_;
  std::uint64_t compactions_ = 0;
};

}  // namespace apps

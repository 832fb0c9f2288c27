// Sorted tables of a store, each an mblock (tests/apps/README.md, "A table").
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/apps/kv_manifest.h"
#include "tests/apps/kv_wal.h"

namespace apps {

struct Entry {
  std::string key;
  Value value;
};

// Entries in the order of their keys, each once.
class Source {
 public:
  virtual ~Source() = default;
  virtual bool valid() const = 0;
  virtual const Entry& entry() const = 0;  // valid
  virtual void next() = 0;                 // valid
};

// A table that is written: an mblock that is aborted unless it was committed.
class TableBuilder {
 public:
  // `block_bytes`: a block ends when it has that many.
  TableBuilder(const Pool& pool, std::size_t block_bytes);
  ~TableBuilder();
  TableBuilder(const TableBuilder&) = delete;
  TableBuilder& operator=(const TableBuilder&) = delete;

  // In the order of keys.
  void add(const Entry& entry);
  // Bytes that finish() would write, if the entry were added.
  std::size_t size_with(const Entry& entry) const;
  std::uint64_t id() const { return id_; }
  // Writes it. Nothing can be added afterwards.
  TableInfo finish(std::uint32_t level, std::uint64_t last_sequence);
  // Durable on return.
  void commit();

 private:
  void end_block();

  const Pool& pool_;
  const std::size_t block_bytes_;
  std::uint64_t id_ = 0;
  std::size_t capacity_ = 0;
  bool owned_ = true;
  std::string blocks_, index_;
  Encoder block_;
  std::string block_key_, first_key_, last_key_;
};

// A committed table, read through a map.
//
// Threads: all functions may be called at the same time. Errors: ENODATA a damaged block.
class Table {
 public:
  Table(const Pool& pool, TableInfo info);
  ~Table();
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  const TableInfo& info() const { return info_; }
  // Null: the table says nothing about the key.
  std::unique_ptr<Entry> find(std::string_view key) const;
  // From that key on. The table must outlive it.
  std::unique_ptr<Source> from(std::string_view key) const;

 private:
  class Cursor;
  struct Block {
    std::string first_key;
    std::uint64_t offset = 0;
    std::uint32_t length = 0;
  };
  void read_index();
  // A part of the mblock without its checksum, which is right.
  std::string_view checked(std::uint64_t offset, std::uint32_t length) const;
  std::vector<Entry> read_block(std::size_t number) const;
  // The block that has the key, if any has.
  std::size_t block_of(std::string_view key) const;

  const TableInfo info_;
  std::size_t length_ = 0;
  mpool_mcache_map* map_ = nullptr;
  const char* base_ = nullptr;
  std::vector<Block> blocks_;
};

// The entries of several sources, the newest source first: of a key the newest entry.
class Merge : public Source {
 public:
  explicit Merge(std::vector<std::unique_ptr<Source>> sources);
  bool valid() const override { return current_ != nullptr; }
  const Entry& entry() const override { return current_->entry(); }
  void next() override;

 private:
  void choose();
  std::vector<std::unique_ptr<Source>> sources_;
  Source* current_ = nullptr;
};

}  // namespace apps

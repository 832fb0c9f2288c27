// The newest changes of a store, in memory.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/apps/kv_table.h"
#include "tests/apps/kv_wal.h"

namespace apps {

// The changes since the last flush, of each key the newest one.
//
// Threads: functions that are const at the same time; the others one at a time.
class Memtable {
 public:
  void apply(const Change& change) {
    bytes_ += change.key.size() + (change.value ? change.value->size() : 0) + kOverhead;
    last_sequence_ = change.sequence;
    entries_.insert_or_assign(change.key, change.value);
  }
  bool empty() const { return entries_.empty(); }
  std::size_t bytes() const { return bytes_; }
  std::uint64_t last_sequence() const { return last_sequence_; }
  const Value* find(const std::string& key) const {
    const auto found = entries_.find(key);
    return found == entries_.end() ? nullptr : &found->second;
  }
  // A copy, from that key on.
  std::unique_ptr<Source> from(const std::string& key) const {
    return std::make_unique<Copy>(entries_.lower_bound(key), entries_.end());
  }

 private:
  static constexpr std::size_t kOverhead = 32;
  using Entries = std::map<std::string, Value>;

  class Copy : public Source {
   public:
    Copy(Entries::const_iterator begin, Entries::const_iterator end) {
      for (; begin != end; ++begin)
        entries_.push_back({.key = begin->first, .value = begin->second});
    }
    bool valid() const override { return at_ < entries_.size(); }
    const Entry& entry() const override { return entries_[at_]; }
    void next() override { ++at_; }

   private:
    std::vector<Entry> entries_;
    std::size_t at_ = 0;
  };

  Entries entries_;
  std::size_t bytes_ = 0;
  std::uint64_t last_sequence_ = 0;
};

}  // namespace apps

// A page cache in memory, for tests of the reaper.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/base/aligned_buffer.h"
#include "engine/cache/cached_chunk.h"

namespace mpool::test {

// Keeps the pages that were used last, as many as it has room for.
class SimulatedCache {
 public:
  explicit SimulatedCache(std::size_t room) : room_(room) {}

  // True: the page was there.
  bool read(std::uint64_t chunk, std::uint64_t page) {
    const std::uint64_t key = chunk << 32 | page;
    const auto found = places_.find(key);
    if (found != places_.end()) {
      pages_.splice(pages_.begin(), pages_, found->second);
      return true;
    }
    if (pages_.size() == room_) drop(pages_.back());
    pages_.push_front(key);
    places_[key] = pages_.begin();
    ++resident_[chunk];
    return false;
  }

  void evict(std::uint64_t chunk, std::uint64_t first, std::uint64_t end) {
    for (std::uint64_t page = first; page < end; ++page) {
      const std::uint64_t key = chunk << 32 | page;
      if (places_.contains(key)) drop(key);
    }
  }

  std::uint64_t resident(std::uint64_t chunk) const {
    const auto found = resident_.find(chunk);
    return found == resident_.end() ? 0 : found->second;
  }
  std::size_t used() const { return pages_.size(); }

 private:
  void drop(std::uint64_t key) {
    pages_.erase(places_.at(key));
    places_.erase(key);
    --resident_[key >> 32];
  }

  std::size_t room_;
  std::list<std::uint64_t> pages_;  // the one used last first
  std::unordered_map<std::uint64_t, std::list<std::uint64_t>::iterator> places_;
  std::unordered_map<std::uint64_t, std::uint64_t> resident_;
};

class SimulatedChunk final : public CachedChunk {
 public:
  SimulatedChunk(SimulatedCache& cache, std::uint64_t number, std::uint64_t pages,
                 Advice advice = Advice::cold)
      : cache_(cache), number_(number), pages_(pages), advice_(advice) {}

  std::optional<State> look() override {
    if (gone) return std::nullopt;
    return State{.resident = cache_.resident(number_), .uses = uses};
  }
  void evict(std::uint64_t offset, std::uint64_t length) override {
    evictions.push_back(length);
    if (!mapped) cache_.evict(number_, offset / kPageSize, (offset + length) / kPageSize);
  }
  std::uint64_t length() const override { return pages_ * kPageSize; }
  Advice advice() const override { return advice_; }
  bool kept() const override { return open; }

  void read_all() {
    for (std::uint64_t page = 0; page < pages_; ++page)
      cache_.read(number_, page);
  }
  std::uint64_t resident() const { return cache_.resident(number_); }

  bool open = true;
  bool gone = false;
  bool mapped = false;
  std::uint64_t uses = 0;
  std::vector<std::uint64_t> evictions;  // their lengths

 private:
  SimulatedCache& cache_;
  const std::uint64_t number_;
  const std::uint64_t pages_;
  const Advice advice_;
};

}  // namespace mpool::test

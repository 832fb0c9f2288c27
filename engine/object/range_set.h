// A set of byte ranges.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>

namespace mpool {

// Disjoint half-open ranges [begin, end); neighbours are merged. Not thread-safe. Cost:
// logarithmic.
class RangeSet {
 public:
  // Adds [begin, end), which must be empty or not overlap the set; returns false (set unchanged)
  // when it overlaps.
  bool insert(std::uint64_t begin, std::uint64_t end);
  // Adds [begin, end), overlapping or not.
  void unite(std::uint64_t begin, std::uint64_t end);
  // Removes [begin, end).
  void erase(std::uint64_t begin, std::uint64_t end);
  void clear() { ranges_.clear(); }

  bool overlaps(std::uint64_t begin, std::uint64_t end) const;
  bool empty() const { return ranges_.empty(); }
  // The begin of the first range, and the end of the last one; 0 when empty.
  std::uint64_t begin() const { return ranges_.empty() ? 0 : ranges_.begin()->first; }
  std::uint64_t end() const { return ranges_.empty() ? 0 : ranges_.rbegin()->second; }

  // True when all of [begin, end) is in the set.
  bool contains(std::uint64_t begin, std::uint64_t end) const;

  // Calls range(begin, end) for every range, cut to [from, to), in order.
  template <typename F>
  void for_each_range(std::uint64_t from, std::uint64_t to, F&& range) const {
    if (from >= to) return;
    auto it = ranges_.upper_bound(from);
    if (it != ranges_.begin() && std::prev(it)->second > from) --it;
    for (; it != ranges_.end() && it->first < to; ++it) {
      range(std::max(it->first, from), std::min(it->second, to));
    }
  }

  // Calls gap(begin, end) for every hole of [0, limit), in order.
  template <typename F>
  void for_each_gap(std::uint64_t limit, F&& gap) const {
    std::uint64_t at = 0;
    for (const auto& [begin, end] : ranges_) {
      if (begin >= limit) break;
      if (begin > at) gap(at, begin);
      at = end;
    }
    if (at < limit) gap(at, limit);
  }

 private:
  std::map<std::uint64_t, std::uint64_t> ranges_;  // begin -> end
};

}  // namespace mpool

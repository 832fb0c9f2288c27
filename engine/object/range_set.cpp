#include "engine/object/range_set.h"

namespace mpool {

bool RangeSet::overlaps(std::uint64_t begin, std::uint64_t end) const {
  if (begin >= end) return false;
  auto it = ranges_.lower_bound(end);  // the first range that begins at or after `end`
  return it != ranges_.begin() && std::prev(it)->second > begin;
}

bool RangeSet::contains(std::uint64_t begin, std::uint64_t end) const {
  if (begin >= end) return true;
  auto it = ranges_.upper_bound(begin);
  return it != ranges_.begin() && std::prev(it)->second >= end;
}

bool RangeSet::insert(std::uint64_t begin, std::uint64_t end) {
  if (overlaps(begin, end)) return false;
  unite(begin, end);
  return true;
}

void RangeSet::unite(std::uint64_t begin, std::uint64_t end) {
  if (begin >= end) return;
  auto it = ranges_.upper_bound(begin);
  if (it != ranges_.begin() && std::prev(it)->second >= begin) --it;
  while (it != ranges_.end() && it->first <= end) {
    begin = std::min(begin, it->first);
    end = std::max(end, it->second);
    it = ranges_.erase(it);
  }
  ranges_.emplace_hint(it, begin, end);
}

void RangeSet::erase(std::uint64_t begin, std::uint64_t end) {
  if (begin >= end) return;
  auto it = ranges_.upper_bound(begin);
  if (it != ranges_.begin() && std::prev(it)->second > begin) --it;
  while (it != ranges_.end() && it->first < end) {
    const auto [first, last] = *it;
    it = ranges_.erase(it);
    if (first < begin) ranges_.emplace_hint(it, first, begin);
    if (last > end) it = ranges_.emplace_hint(it, end, last);
  }
}

}  // namespace mpool

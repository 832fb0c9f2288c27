#include "engine/space/run_tree.h"

#include <algorithm>
#include <bit>
#include <cassert>

#include "engine/base/bytes.h"

namespace mpool {

// A search from left to right: `carry` set bits, none before `from`, end where the next node
// starts.
struct RunTree::Search {
  std::uint32_t count;
  std::uint32_t from;
  std::uint32_t carry = 0;
  std::uint32_t found = 0;
};

RunTree::RunTree(std::uint32_t size) : nodes_(2) {
  resize(size);
}

void RunTree::resize(std::uint32_t size) {
  assert(size >= size_);
  const auto words = static_cast<std::uint32_t>(ceil_div(size, kWordBits));
  words_.resize(words, 0);
  const auto leaves = std::bit_ceil(std::max<std::uint32_t>(words, 1));
  if (leaves != leaves_) {
    leaves_ = leaves;
    nodes_.assign(std::size_t{2} * leaves_, Node{});
    update(0, words);
  }
  size_ = size;
}

RunTree::Node RunTree::summarize(std::uint64_t word) {
  std::uint32_t longest = 0;
  for (std::uint64_t rest = word; rest != 0;) {
    rest >>= std::countr_zero(rest);
    const auto run = static_cast<std::uint32_t>(std::countr_one(rest));
    longest = std::max(longest, run);
    rest = run == kWordBits ? 0 : rest >> run;
  }
  return {.prefix = static_cast<std::uint32_t>(std::countr_one(word)),
          .suffix = static_cast<std::uint32_t>(std::countl_one(word)),
          .longest = longest};
}

RunTree::Node RunTree::join(const Node& left, const Node& right, std::uint32_t half_bits) {
  return {.prefix = left.prefix == half_bits ? half_bits + right.prefix : left.prefix,
          .suffix = right.suffix == half_bits ? half_bits + left.suffix : right.suffix,
          .longest = std::max({left.longest, right.longest, left.suffix + right.prefix})};
}

// The bits of `word` that lie in [first, last); at least one does.
std::uint64_t RunTree::mask(std::uint32_t word, std::uint32_t first, std::uint32_t last) {
  const std::uint32_t start = word * kWordBits;
  const std::uint32_t low = first > start ? first - start : 0;
  const std::uint32_t high = std::min(last - start, kWordBits);
  return (~std::uint64_t{0} >> (kWordBits - (high - low))) << low;
}

void RunTree::update(std::uint32_t first_word, std::uint32_t last_word) {
  if (first_word == last_word) return;
  for (std::uint32_t word = first_word; word < last_word; ++word) {
    nodes_[leaves_ + word] = summarize(words_[word]);
  }
  std::size_t first = leaves_ + first_word;
  std::size_t last = leaves_ + last_word - 1;
  for (std::uint32_t bits = kWordBits; first > 1; bits *= 2) {
    first /= 2;
    last /= 2;
    for (std::size_t node = first; node <= last; ++node) {
      nodes_[node] = join(nodes_[2 * node], nodes_[2 * node + 1], bits);
    }
  }
}

void RunTree::set(std::uint32_t first, std::uint32_t last) {
  assert(first <= last && last <= size_);
  if (first == last) return;
  const std::uint32_t end = (last - 1) / kWordBits + 1;
  for (std::uint32_t word = first / kWordBits; word < end; ++word) {
    words_[word] |= mask(word, first, last);
  }
  update(first / kWordBits, end);
}

void RunTree::clear(std::uint32_t first, std::uint32_t last) {
  assert(first <= last && last <= size_);
  if (first == last) return;
  const std::uint32_t end = (last - 1) / kWordBits + 1;
  for (std::uint32_t word = first / kWordBits; word < end; ++word) {
    words_[word] &= ~mask(word, first, last);
  }
  update(first / kWordBits, end);
}

bool RunTree::all_set(std::uint32_t first, std::uint32_t last) const {
  assert(first <= last && last <= size_);
  for (std::uint32_t word = first / kWordBits; first != last && word <= (last - 1) / kWordBits;
       ++word) {
    const std::uint64_t bits = mask(word, first, last);
    if ((words_[word] & bits) != bits) return false;
  }
  return true;
}

bool RunTree::all_clear(std::uint32_t first, std::uint32_t last) const {
  assert(first <= last && last <= size_);
  for (std::uint32_t word = first / kWordBits; first != last && word <= (last - 1) / kWordBits;
       ++word) {
    if ((words_[word] & mask(word, first, last)) != 0) return false;
  }
  return true;
}

std::optional<std::uint32_t> RunTree::find(std::uint32_t count, std::uint32_t from) const {
  assert(count >= 1);
  if (from >= size_ || count > longest()) return std::nullopt;
  Search search{.count = count, .from = from};
  if (!visit(search, 1, 0, std::uint64_t{leaves_} * kWordBits)) return std::nullopt;
  return search.found;
}

// True when the run is found; it may begin in the carried bits. Otherwise updates the carry. A node
// after `from` is entered only if the run is in it, so that the way down is one path on either side
// of `from`.
bool RunTree::visit(Search& search, std::size_t node, std::uint64_t start,
                    std::uint64_t bits) const {
  if (start + bits <= search.from) return false;
  const Node& summary = nodes_[node];
  if (start >= search.from) {
    if (search.carry + summary.prefix >= search.count) {
      search.found = static_cast<std::uint32_t>(start - search.carry);
      return true;
    }
    if (summary.longest < search.count) {
      search.carry = summary.prefix == bits ? search.carry + summary.prefix : summary.suffix;
      return false;
    }
  }
  if (bits == kWordBits) return visit_word(search, static_cast<std::uint32_t>(start));
  const std::uint64_t half = bits / 2;
  return visit(search, 2 * node, start, half) || visit(search, 2 * node + 1, start + half, half);
}

// True if the word holds the run, or `from` lies inside it (nothing is then carried).
bool RunTree::visit_word(Search& search, std::uint32_t start) const {
  std::uint64_t word = words_[start / kWordBits];
  if (search.from > start) word &= ~std::uint64_t{0} << (search.from - start);
  std::uint32_t position = 0;
  for (std::uint64_t rest = word; rest != 0;) {
    const auto gap = static_cast<std::uint32_t>(std::countr_zero(rest));
    rest >>= gap;
    position += gap;
    const auto run = static_cast<std::uint32_t>(std::countr_one(rest));
    if (run >= search.count) {
      search.found = start + position;
      return true;
    }
    rest = run == kWordBits ? 0 : rest >> run;
    position += run;
  }
  search.carry = static_cast<std::uint32_t>(std::countl_one(word));
  return false;
}

std::uint32_t RunTree::suffix() const {
  std::uint32_t length = 0;
  std::uint32_t last = size_;
  while (last > 0) {
    const std::uint32_t word = (last - 1) / kWordBits;
    const std::uint32_t bits = last - word * kWordBits;
    const auto run =
        static_cast<std::uint32_t>(std::countl_one(words_[word] << (kWordBits - bits)));
    length += run;
    if (run < bits) break;
    last -= bits;
  }
  return length;
}

}  // namespace mpool

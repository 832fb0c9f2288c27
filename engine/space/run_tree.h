// A bitmap that finds the first run of set bits long enough.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace mpool {

// Bits 0..size()-1, set = free. A complete binary tree (a segment tree) over the 64-bit words of
// the bitmap: every node stores, for the bits under it, the length of the leading free run, of the
// trailing one, and of the longest one. A query descends to the first place that fits; a change
// updates the words it touches and their ancestors. Both are logarithmic in size() (a change of n
// bits: + n / 64).
//
// Not thread-safe.
class RunTree {
 public:
  // All bits clear.
  explicit RunTree(std::uint32_t size);

  std::uint32_t size() const { return size_; }
  // Adds clear bits at the end; `size` is not below the present one.
  void resize(std::uint32_t size);

  // Ranges [first, last) inside 0..size().
  void set(std::uint32_t first, std::uint32_t last);
  void clear(std::uint32_t first, std::uint32_t last);
  bool all_set(std::uint32_t first, std::uint32_t last) const;
  bool all_clear(std::uint32_t first, std::uint32_t last) const;

  // The smallest position ≥ `from` where `count` (≥ 1) set bits begin.
  std::optional<std::uint32_t> find(std::uint32_t count, std::uint32_t from) const;

  // Lengths of the runs of set bits at the start and the end, and of the longest one.
  std::uint32_t prefix() const { return nodes_[1].prefix; }
  std::uint32_t suffix() const;
  std::uint32_t longest() const { return nodes_[1].longest; }

 private:
  static constexpr std::uint32_t kWordBits = 64;
  struct Node {
    std::uint32_t prefix = 0, suffix = 0, longest = 0;
  };
  struct Search;

  static Node summarize(std::uint64_t word);
  static Node join(const Node& left, const Node& right, std::uint32_t half_bits);
  static std::uint64_t mask(std::uint32_t word, std::uint32_t first, std::uint32_t last);
  void update(std::uint32_t first_word, std::uint32_t last_word);
  bool visit(Search& search, std::size_t node, std::uint64_t start, std::uint64_t bits) const;
  bool visit_word(Search& search, std::uint32_t start) const;

  std::uint32_t size_ = 0;
  std::uint32_t leaves_ = 1;          // a power of two; leaves after the last word have no bit set
  std::vector<std::uint64_t> words_;  // bits after size_ are clear
  std::vector<Node> nodes_;           // root 1, children 2n and 2n+1, words at leaves_ + word
};

}  // namespace mpool

// The pages of a write-once file that are in memory while it is being written.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "engine/base/aligned_buffer.h"

namespace mpool {

// Buffers of HeldPages::kPieceSize that are not in use, of all files: fresh memory costs more than
// filling it. Thread-safe; the lock is a leaf.
AlignedBuffer take_piece_buffer();
void give_piece_buffer(AlignedBuffer buffer) noexcept;

// Pages by their offset in the file, in pieces of kPieceSize, each with one buffer that grows. A
// page is held whole: what was not put there is zeros. A page is dirty until mark_clean().
//
// All offsets and lengths are bytes; a page range is aligned to kPageSize. Not thread-safe.
class HeldPages {
 public:
  static constexpr std::size_t kPieceSize = 1u << 20;
  static constexpr std::size_t kMinBuffer = 16u << 10;  // bytes; the next sizes are four times this

  struct Range {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    bool operator==(const Range&) const = default;
  };

  HeldPages() = default;
  ~HeldPages() { clear(); }
  HeldPages(const HeldPages&) = delete;
  HeldPages& operator=(const HeldPages&) = delete;

  // The size of all buffers.
  std::size_t bytes() const { return bytes_; }
  bool empty() const { return pieces_.empty(); }
  bool holds(std::uint64_t page) const;
  bool holds_any(Range pages) const;

  // What bytes() grows by when room for the range is made; and making it. `whole`: pieces that are
  // new get their full size at once. Throws std::bad_alloc with nothing changed but bytes().
  std::size_t growth(Range range, bool whole) const;
  void make_room(Range range, bool whole);

  // There is room, and each page that is held only in part of the range is held already, or is to
  // be zeros elsewhere.
  void put(std::uint64_t offset, ConstByteSpan data);
  // A page as the device has it: clean.
  void load(std::uint64_t page, ConstByteSpan content);
  // Zeros from here to the end of the page, which is held.
  void zero_rest_of_page(std::uint64_t offset);
  // The range lies in pages that are held.
  void copy(std::uint64_t offset, ByteSpan into) const;

  // The first run of dirty pages inside one piece at or behind `from`, before `limit`.
  std::optional<Range> next_dirty(std::uint64_t from, std::uint64_t limit) const;
  bool has_dirty() const;
  // The one run that all dirty pages are; nullopt: none or several.
  std::optional<Range> only_dirty_run() const;
  // Of a run inside one piece; valid until room is made in that piece, or it is dropped.
  ConstByteSpan span(Range run) const;
  void mark_clean(Range run);

  // The piece, of those for which `suits(piece)`, whose last put was the longest time ago.
  template <typename Suits>
  std::optional<Range> oldest(Suits&& suits) const {
    const Piece* oldest = nullptr;
    Range found;
    for (const auto& [begin, piece] : pieces_) {
      const Range range{begin, begin + kPieceSize};
      if ((oldest != nullptr && oldest->age < piece.age) || !suits(range)) continue;
      oldest = &piece;
      found = range;
    }
    return oldest == nullptr ? std::nullopt : std::optional(found);
  }
  // All pieces, in order of the file.
  std::vector<Range> pieces() const;

  // Forgets the piece that begins there, if there is one; take() returns its buffer instead of
  // freeing it.
  void drop(std::uint64_t piece);
  AlignedBuffer take(std::uint64_t piece);
  // Forgets the pages from there on.
  void drop_from(std::uint64_t page);
  void clear();

 private:
  static constexpr std::size_t kPages = kPieceSize / kPageSize;
  using Bits = std::bitset<kPages>;
  struct Piece {
    AlignedBuffer buffer;     // of [start, start + buffer.size())
    std::uint64_t start = 0;  // aligned to the size of the buffer
    Bits held, dirty;
    std::uint64_t age = 0;
  };
  using Pieces = std::map<std::uint64_t, Piece>;

  static std::uint64_t piece_of(std::uint64_t offset) { return round_down(offset, kPieceSize); }
  static std::size_t index_of(std::uint64_t offset) { return offset % kPieceSize / kPageSize; }
  static std::byte* at(Piece& piece, std::uint64_t offset) {
    return piece.buffer.data() + (offset - piece.start);
  }
  static const std::byte* at(const Piece& piece, std::uint64_t offset) {
    return piece.buffer.data() + (offset - piece.start);
  }
  // What the buffer of a piece has to span for the part of it, beside what it spans already.
  static Range wanted_buffer(const Piece* piece, Range part, bool whole);
  template <typename Visit>
  static void for_each_part(Range range, Visit&& visit);
  void enlarge(Piece& piece, Range wanted);

  Pieces pieces_;  // by offset of their first byte
  std::size_t bytes_ = 0;
  std::uint64_t next_age_ = 0;
};

}  // namespace mpool

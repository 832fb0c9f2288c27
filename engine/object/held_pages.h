// The pages in memory of a write-once file that is being written.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "engine/base/aligned_buffer.h"
#include "engine/base/write_memory.h"

namespace mpool {

// Pages by their offset in the file, in pieces of kPieceSize, each with one buffer that grows.
// Pages are held completely; bytes without a put() are zeros. A page is dirty until mark_clean().
//
// All offsets and lengths are bytes; a page range is aligned to kPageSize. Not thread-safe.
class HeldPages {
 public:
  static constexpr std::size_t kPieceSize = WriteMemory::kPieceSize;
  static constexpr std::size_t kMinBuffer = 16u << 10;  // bytes; the next sizes are four times this

  struct Range {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    bool operator==(const Range&) const = default;
  };

  // The memory lends the buffers of whole pieces; it is not charged for bytes() here.
  explicit HeldPages(WriteMemory& memory) : memory_(memory) {}
  ~HeldPages() { clear(); }
  HeldPages(const HeldPages&) = delete;
  HeldPages& operator=(const HeldPages&) = delete;

  // The total size of the buffers.
  std::size_t bytes() const { return bytes_; }
  bool empty() const { return pieces_.empty(); }
  bool holds(std::uint64_t page) const;
  bool holds_any(Range pages) const;

  // growth(): the increase of bytes() when room for the range is made; and the call that makes it.
  // `whole`: new pieces get their full size at once. Throws std::bad_alloc with nothing changed
  // except bytes().
  std::size_t growth(Range range, bool whole) const;
  void make_room(Range range, bool whole);

  // There must be room. A page that the range covers partly must be held already; otherwise its
  // rest becomes zeros.
  void put(std::uint64_t offset, ConstByteSpan data);
  // Stores a page as read from the device: clean.
  void load(std::uint64_t page, ConstByteSpan content);
  // Zeroes bytes inside one page, which must be held.
  void zero(Range range);
  void mark_dirty(std::uint64_t page);  // which must be held
  // The range must lie in held pages.
  void copy(std::uint64_t offset, ByteSpan into) const;

  // The first run of dirty pages inside one piece at or after `from`, before `limit`.
  std::optional<Range> next_dirty(std::uint64_t from, std::uint64_t limit) const;
  bool has_dirty() const;
  // The single run of all dirty pages; nullopt: none or several.
  std::optional<Range> only_dirty_run() const;
  // The memory of a run inside one piece; valid until the piece is dropped or gets more room.
  ConstByteSpan span(Range run) const;
  void mark_clean(Range run);

  // The piece with the least recent put(), among those for which `suits(piece)`.
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

  // Drops the piece that begins there, if any; take() returns its buffer instead of freeing it.
  void drop(std::uint64_t piece);
  AlignedBuffer take(std::uint64_t piece);
  // Drops the pages from there on.
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
  // The range that the buffer of a piece must cover for `part`, including its present range.
  static Range wanted_buffer(const Piece* piece, Range part, bool whole);
  template <typename Visit>
  static void for_each_part(Range range, Visit&& visit);
  void enlarge(Piece& piece, Range wanted);

  WriteMemory& memory_;
  Pieces pieces_;  // by offset of their first byte
  std::size_t bytes_ = 0;
  std::uint64_t next_age_ = 0;
};

}  // namespace mpool

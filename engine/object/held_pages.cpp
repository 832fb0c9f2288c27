#include "engine/object/held_pages.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace mpool {

template <typename Visit>
void HeldPages::for_each_part(Range range, Visit&& visit) {
  for (std::uint64_t at = range.begin; at < range.end;) {
    const std::uint64_t end = std::min(range.end, piece_of(at) + kPieceSize);
    visit(piece_of(at), Range{at, end});
    at = end;
  }
}

bool HeldPages::holds(std::uint64_t page) const {
  const auto piece = pieces_.find(piece_of(page));
  return piece != pieces_.end() && piece->second.held.test(index_of(page));
}

bool HeldPages::holds_any(Range pages) const {
  if (pieces_.empty()) return false;
  auto piece = pieces_.lower_bound(piece_of(pages.begin));
  for (; piece != pieces_.end() && piece->first < pages.end; ++piece) {
    const std::uint64_t begin = std::max(pages.begin, piece->first);
    const std::uint64_t end = std::min(pages.end, piece->first + kPieceSize);
    for (std::uint64_t page = begin; page < end; page += kPageSize) {
      if (piece->second.held.test(index_of(page))) return true;
    }
  }
  return false;
}

HeldPages::Range HeldPages::wanted_buffer(const Piece* piece, Range part, bool whole) {
  Range span{round_down(part.begin, kPageSize), round_up(part.end, kPageSize)};
  std::size_t size = whole && piece == nullptr ? kPieceSize : kMinBuffer;
  if (piece != nullptr) {
    span.begin = std::min(span.begin, piece->start);
    span.end = std::max<std::uint64_t>(span.end, piece->start + piece->buffer.size());
    size = piece->buffer.size();
  }
  while (round_down(span.begin, size) + size < span.end)
    size *= 4;
  const std::uint64_t start = round_down(span.begin, size);
  return {start, start + size};
}

std::size_t HeldPages::growth(Range range, bool whole) const {
  std::size_t bytes = 0;
  for_each_part(range, [&](std::uint64_t number, Range part) {
    const auto found = pieces_.find(number);
    const Piece* piece = found == pieces_.end() ? nullptr : &found->second;
    const Range wanted = wanted_buffer(piece, part, whole);
    bytes += (wanted.end - wanted.begin) - (piece == nullptr ? 0 : piece->buffer.size());
  });
  return bytes;
}

void HeldPages::make_room(Range range, bool whole) {
  for_each_part(range, [&](std::uint64_t number, Range part) {
    const auto found = pieces_.find(number);
    if (found != pieces_.end()) {
      enlarge(found->second, wanted_buffer(&found->second, part, whole));
      return;
    }
    Piece piece;
    piece.age = next_age_++;
    enlarge(piece, wanted_buffer(nullptr, part, whole));
    pieces_.emplace(number, std::move(piece));
  });
}

void HeldPages::enlarge(Piece& piece, Range wanted) {
  const std::size_t size = wanted.end - wanted.begin;
  if (size == piece.buffer.size()) return;
  AlignedBuffer buffer = size == kPieceSize ? memory_.take_piece() : AlignedBuffer(size);
  if (!piece.buffer.empty()) {
    std::memcpy(buffer.data() + (piece.start - wanted.begin), piece.buffer.data(),
                piece.buffer.size());
  }
  bytes_ += size - piece.buffer.size();
  piece.buffer = std::move(buffer);
  piece.start = wanted.begin;
}

void HeldPages::put(std::uint64_t offset, ConstByteSpan data) {
  for_each_part({offset, offset + data.size()}, [&](std::uint64_t number, Range part) {
    Piece& piece = pieces_.at(number);
    piece.age = next_age_++;
    for (std::uint64_t page = round_down(part.begin, kPageSize); page < part.end;
         page += kPageSize) {
      const std::size_t index = index_of(page);
      const bool covered = part.begin <= page && page + kPageSize <= part.end;
      if (!piece.held.test(index) && !covered) std::memset(at(piece, page), 0, kPageSize);
      piece.held.set(index);
      piece.dirty.set(index);
    }
    std::memcpy(at(piece, part.begin), data.data() + (part.begin - offset), part.end - part.begin);
  });
}

void HeldPages::load(std::uint64_t page, ConstByteSpan content) {
  Piece& piece = pieces_.at(piece_of(page));
  std::memcpy(at(piece, page), content.data(), kPageSize);
  piece.held.set(index_of(page));
  piece.dirty.reset(index_of(page));
}

void HeldPages::zero(Range range) {
  Piece& piece = pieces_.at(piece_of(range.begin));
  std::memset(at(piece, range.begin), 0, range.end - range.begin);
}

void HeldPages::mark_dirty(std::uint64_t page) {
  pieces_.at(piece_of(page)).dirty.set(index_of(page));
}

void HeldPages::copy(std::uint64_t offset, ByteSpan into) const {
  for_each_part({offset, offset + into.size()}, [&](std::uint64_t number, Range part) {
    const Piece& piece = pieces_.at(number);
    std::memcpy(into.data() + (part.begin - offset), at(piece, part.begin), part.end - part.begin);
  });
}

std::optional<HeldPages::Range> HeldPages::next_dirty(std::uint64_t from,
                                                      std::uint64_t limit) const {
  auto found = pieces_.lower_bound(piece_of(from));
  for (; found != pieces_.end() && found->first < limit; ++found) {
    const auto& [number, piece] = *found;
    std::size_t index = number < from ? index_of(from) : 0;
    while (index < kPages && !piece.dirty.test(index))
      ++index;
    std::size_t last = index;
    while (last < kPages && piece.dirty.test(last))
      ++last;
    const Range run{number + index * kPageSize, std::min(limit, number + last * kPageSize)};
    if (run.begin < run.end) return run;
  }
  return std::nullopt;
}

bool HeldPages::has_dirty() const {
  return std::ranges::any_of(pieces_, [](const auto& entry) { return entry.second.dirty.any(); });
}

std::optional<HeldPages::Range> HeldPages::only_dirty_run() const {
  const auto run = next_dirty(0, UINT64_MAX);
  if (!run || next_dirty(run->end, UINT64_MAX)) return std::nullopt;
  return run;
}

ConstByteSpan HeldPages::span(Range run) const {
  const Piece& piece = pieces_.at(piece_of(run.begin));
  return {at(piece, run.begin), run.end - run.begin};
}

void HeldPages::mark_clean(Range run) {
  Piece& piece = pieces_.at(piece_of(run.begin));
  for (std::uint64_t page = run.begin; page < run.end; page += kPageSize)
    piece.dirty.reset(index_of(page));
}

std::vector<HeldPages::Range> HeldPages::pieces() const {
  std::vector<Range> found;
  for (const auto& [begin, piece] : pieces_)
    found.push_back({begin, begin + kPieceSize});
  return found;
}

AlignedBuffer HeldPages::take(std::uint64_t number) {
  const auto found = pieces_.find(number);
  if (found == pieces_.end()) return {};
  AlignedBuffer buffer = std::move(found->second.buffer);
  bytes_ -= buffer.size();
  pieces_.erase(found);
  return buffer;
}

void HeldPages::drop(std::uint64_t piece) {
  memory_.give_piece(take(piece));
}

void HeldPages::drop_from(std::uint64_t page) {
  while (!pieces_.empty() && pieces_.rbegin()->first >= page)
    drop(pieces_.rbegin()->first);
  const auto cut = pieces_.find(piece_of(page));
  if (cut == pieces_.end()) return;
  for (std::size_t index = index_of(page); index < kPages; ++index) {
    cut->second.held.reset(index);
    cut->second.dirty.reset(index);
  }
  if (cut->second.held.none()) drop(cut->first);
}

void HeldPages::clear() {
  while (!pieces_.empty())
    drop(pieces_.begin()->first);
}

}  // namespace mpool

// The pages in memory of a file being written.

#include "engine/object/content_writer_impl.h"

namespace mpool {

// The page is in a window and on the device, with some of its bytes.
bool ContentWriter::Impl::needs_read_back(std::uint64_t page) {
  if (held_.holds(page)) return false;
  const auto* window = open_window_at(page);
  return window != nullptr && window->second.writer->has(page - window->first, kPageSize);
}

// Only its first and last page can have bytes of earlier writes.
bool ContentWriter::Impl::needs_read_back(Range range) {
  return needs_read_back(page_of(range.begin)) || needs_read_back(page_of(range.end - 1));
}

// A file that is written sequentially from its beginning will continue.
bool ContentWriter::Impl::wants_whole_piece(std::uint64_t offset) const {
  return offset == last_end_ && offset >= HeldPages::kPieceSize / 2;
}

// Precondition: there is room, and no page must be read back.
void ContentWriter::Impl::hold(std::uint64_t offset, ConstByteSpan data) {
  held_.put(offset, data);
  note_written(offset, data.size());
  soft_.unite(offset, offset + data.size());
  last_use_.store(memory_.next_use(), std::memory_order_relaxed);
  if (entered_) return;
  memory_.enter(weak_from_this());
  entered_ = true;
}

// Makes room in held_ for the range. Its pages are busy, or access is exclusive. The lock may be
// released.
void ContentWriter::Impl::make_room(Lock& lock, Range range) {
  bool relieved = false;
  for (;;) {
    const bool whole = wants_whole_piece(range.begin);
    const std::size_t growth = held_.growth(range, whole);
    if (growth == 0) return;
    if (held_.bytes() + growth > memory_.max_per_file() && evict_oldest(lock, range)) continue;
    if (take_room(range, whole)) return;
    if (relieved) {
      // All memory is in use: this write must not wait for other files.
      held_.make_room(range, whole);
      return account();
    }
    const Unlocked unlocked(lock);
    memory_.relieve(growth);
    relieved = true;
  }
}

// Precondition: the page is busy, or access is exclusive; there is room for it.
void ContentWriter::Impl::read_back(Lock& lock, std::uint64_t page) {
  const auto& [base, window] = window_of(lock, page);
  AlignedBuffer content(kPageSize);
  {
    const Unlocked unlocked(lock);
    window.writer->read(page - base, content.span());
  }
  held_.load(page, content.span());
}

// True if the piece is idle and outside `needed`. The first piece stays: programs patch the
// beginning.
bool ContentWriter::Impl::can_leave(Range piece, Range needed) const {
  const bool is_needed = piece.begin < needed.end && needed.begin < piece.end;
  return piece.begin != 0 && !is_needed && !is_busy(piece);
}

// Writes out and drops the oldest piece that can leave.
bool ContentWriter::Impl::evict_oldest(Lock& lock, Range needed) {
  const auto oldest = held_.oldest([&](Range piece) { return can_leave(piece, needed); });
  if (!oldest) return false;
  const Busy busy(*this, *oldest);
  write_out(lock, *oldest);
  forget_piece(*oldest);
  return true;
}

// Writes the dirty pages of the range; they become clean. They are busy, or access is exclusive.
void ContentWriter::Impl::write_out(Lock& lock, Range pages) {
  while (const auto run = held_.next_dirty(pages.begin, pages.end)) {
    write_pages(lock, run->begin, held_.span(*run));
    held_.mark_clean(*run);
  }
}

void ContentWriter::Impl::forget_piece(Range piece) {
  held_.drop(piece.begin);
  soft_.erase(piece.begin, piece.end);
  account();
}

void ContentWriter::Impl::account() {
  const std::size_t bytes = held_.bytes();
  if (bytes > accounted_) memory_.take(bytes - accounted_);
  if (bytes < accounted_) memory_.give(accounted_ - bytes);
  accounted_ = bytes;
}

void ContentWriter::Impl::write_out_idle() noexcept {
  Lock lock(mutex_);
  if (exclusive_ || failure_) return;
  const User user(*this);
  try {
    leave_pack(lock);
    for (const Range piece : held_.pieces()) {
      if (exclusive_) return;
      if (is_busy(piece)) continue;
      const Busy busy(*this, piece);
      write_out(lock, piece);
      forget_piece(piece);
    }
  } catch (...) {
    keep_failure();
  }
}

}  // namespace mpool

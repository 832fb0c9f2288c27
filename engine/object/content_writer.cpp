#include "engine/object/content_writer.h"

#include <cerrno>
#include <utility>

#include "engine/base/error.h"
#include "engine/object/content_writer_impl.h"

namespace mpool {

// Checks of a write that do not depend on written content.
void ContentWriter::Impl::check_range(std::uint64_t offset, std::size_t length) const {
  check_failure();
  if (ended_) raise(EALREADY, "file", "write after its content was sealed");
  if (offset > kMaxContentLength || length > kMaxContentLength - offset) {
    raise(EFBIG, "file", "write of {} bytes at {}: beyond {}", length, offset, kMaxContentLength);
  }
}

// Bytes that never left the memory count as unwritten.
void ContentWriter::Impl::check_unwritten(std::uint64_t offset, std::size_t length) const {
  const std::uint64_t end = offset + length;
  bool unwritten = !sealed_.overlaps(offset, end) && !cut_.overlaps(offset, end);
  if (unwritten && fresh_.overlaps(offset, end)) {
    fresh_.for_each_range(offset, end, [&](std::uint64_t begin, std::uint64_t stop) {
      unwritten = unwritten && soft_.contains(begin, stop);
    });
  }
  if (!unwritten) {
    raise(EINVAL, "file", "write of {} bytes at {}: some of them are on the device already", length,
          offset);
  }
}

void ContentWriter::Impl::note_written(std::uint64_t offset, std::size_t length) {
  fresh_.unite(offset, offset + length);
  last_end_ = offset + length;
}

// More writes may follow: the write begins at the end of the last one, or at the end of the file.
bool ContentWriter::Impl::is_sequential(std::uint64_t offset) const {
  return offset == last_end_ || offset == std::max(fresh_.end(), sealed_.end());
}

// True if the whole pages of this write go straight to the device. Single pages out of order do if
// there is no memory for them, or the caller prefers it: they can be written in parallel.
bool ContentWriter::Impl::is_direct(std::uint64_t offset, std::size_t length, bool sequential,
                                    Buffering buffering) const {
  if (packing_ || !is_aligned(offset, kPageSize)) return false;
  const Range pages{offset, offset + round_down(length, kPageSize)};
  const bool whole = pages.end == offset + length && pages.begin != pages.end;
  const bool large = length >= memory_.tunables().direct_size;
  if (!large && (sequential || !whole)) return false;
  if (held_.holds_any(pages)) return false;
  // Programs patch the beginning of a file with O_DIRECT, too.
  const bool prefers_device = buffering == Buffering::device && offset >= HeldPages::kPieceSize;
  if (large || prefers_device) return true;
  const std::size_t growth = held_.growth(pages, false);
  const bool room = held_.bytes() + growth <= memory_.max_per_file() && memory_.has_room(growth);
  return growth > 0 && !room;
}

void ContentWriter::Impl::wait_until_idle(Lock& lock, Range pages) {
  ++waiting_;
  changed_.wait(lock, [&] { return !is_busy(pages); });
  --waiting_;
}

void ContentWriter::Impl::write(std::uint64_t offset, ConstByteSpan data, Buffering buffering) {
  Lock lock(mutex_);
  changed_.wait(lock, [&] { return !exclusive_; });
  check_range(offset, data.size());
  if (data.empty()) return;
  const User user(*this);
  const Range pages = pages_of(offset, data.size());
  wait_until_idle(lock, pages);
  check_range(offset, data.size());
  check_unwritten(offset, data.size());
  const Busy busy(*this, pages);
  const bool sequential = is_sequential(offset);
  guarded([&] {
    find_place(lock, offset, data.size());
    while (!data.empty()) {
      const std::size_t length = write_or_hold(lock, offset, data, sequential, buffering);
      offset += length;
      data = data.subspan(length);
    }
  });
}

// Takes the first bytes of `data`, as many as have the same destination; returns their number.
// Their pages are busy.
std::size_t ContentWriter::Impl::write_or_hold(Lock& lock, std::uint64_t offset, ConstByteSpan data,
                                               bool sequential, Buffering buffering) {
  if (is_direct(offset, data.size(), sequential, buffering)) {
    const std::size_t length = round_down(data.size(), kPageSize);
    write_pages(lock, offset, data.first(length));
    note_written(offset, length);
    return length;
  }
  const std::uint64_t piece_end = round_down(offset, HeldPages::kPieceSize) + HeldPages::kPieceSize;
  const Range range{offset, std::min(offset + data.size(), piece_end)};
  make_room(lock, range);
  for (const std::uint64_t page : {page_of(range.begin), page_of(range.end - 1)}) {
    if (needs_read_back(page)) read_back(lock, page);
  }
  const std::size_t length = range.end - range.begin;
  // Another thread may have needed the memory.
  if (!packing_) open_windows(lock, offset, length);
  hold(offset, data.first(length));
  return length;
}

ContentWriter::ContentWriter(std::uint64_t zone_size, Allocate allocate, WriteMemory& memory,
                             std::unique_ptr<PackRoom> pack)
    : impl_(std::make_shared<Impl>(zone_size, std::move(allocate), memory, std::move(pack))) {
  if (zone_size == 0 || zone_size % kPageSize != 0) {
    raise(EINVAL, "file", "zone size {}: not a multiple of {}", zone_size, kPageSize);
  }
}

ContentWriter::~ContentWriter() = default;

void ContentWriter::set_aside(std::uint64_t offset, std::uint64_t length) {
  impl_->set_aside(offset, length);
}

void ContentWriter::write(std::uint64_t offset, ConstByteSpan data, Buffering buffering) {
  impl_->write(offset, data, buffering);
}

std::size_t ContentWriter::read(std::uint64_t offset, ByteSpan into) {
  return impl_->read(offset, into);
}

StartedWrite ContentWriter::start_write(std::uint64_t offset, ConstByteSpan data,
                                        Buffering buffering) {
  return impl_->start_write(offset, data, buffering);
}

void end_write(StartedWrite& write, int error) noexcept {
  const std::shared_ptr<ContentWriter> writer = std::move(write.writer);
  writer->end_write(write, error);
}

void ContentWriter::end_write(StartedWrite& write, int error) noexcept {
  impl_->end_write(write, error);
}

void ContentWriter::declare_length(std::uint64_t length) {
  if (length > kMaxContentLength) {
    raise(EFBIG, "file", "length {}: beyond {}", length, kMaxContentLength);
  }
  const std::lock_guard lock(impl_->mutex_);
  impl_->declared_length_ = std::max(impl_->declared_length_, length);
}

void ContentWriter::truncate(std::uint64_t length) {
  if (length > kMaxContentLength) {
    raise(EFBIG, "file", "length {}: beyond {}", length, kMaxContentLength);
  }
  Impl::Lock lock(impl_->mutex_);
  const Impl::Exclusive exclusive(*impl_, lock);
  impl_->truncate(lock, length);
}

std::uint64_t ContentWriter::length() const {
  const std::lock_guard lock(impl_->mutex_);
  return impl_->length();
}

void ContentWriter::drain() {
  Impl::Lock lock(impl_->mutex_);
  const Impl::Exclusive exclusive(*impl_, lock);
  impl_->drain(lock);
}

bool ContentWriter::is_drained() const {
  const std::lock_guard lock(impl_->mutex_);
  impl_->check_failure();
  return !impl_->exclusive_ && impl_->users_ == 0 &&
         (impl_->packing_ || !impl_->held_.has_dirty() || impl_->is_deferrable());
}

ContentWriter::Sealed ContentWriter::seal(bool last) {
  Impl::Lock lock(impl_->mutex_);
  const Impl::Exclusive exclusive(*impl_, lock);
  return impl_->seal(lock, last);
}

ContentWriter::Sealed ContentWriter::seal_deferring() {
  Impl::Lock lock(impl_->mutex_);
  const Impl::Exclusive exclusive(*impl_, lock);
  impl_->guarded([&] { impl_->defer_end(lock); });
  return impl_->seal(lock, true);
}

std::optional<ContentWriter::Sealed> ContentWriter::try_seal() {
  Impl::Lock lock(impl_->mutex_);
  if (impl_->failure_ || impl_->exclusive_ || impl_->users_ != 0) return std::nullopt;
  if (impl_->packing_) return impl_->try_seal_packed(true);
  if (!impl_->try_defer_all()) return std::nullopt;
  const Impl::Exclusive exclusive(*impl_, lock);
  return impl_->seal(lock, true);
}

void ContentWriter::discard() {
  Impl::Lock lock(impl_->mutex_);
  const Impl::Exclusive exclusive(*impl_, lock);
  impl_->discard(lock);
}

void ContentWriter::forget_sealed() {
  const std::lock_guard lock(impl_->mutex_);
  impl_->sealed_parts_.clear();
}

}  // namespace mpool

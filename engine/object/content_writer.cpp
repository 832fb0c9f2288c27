#include "engine/object/content_writer.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "engine/base/error.h"
#include "engine/object/content_writer_impl.h"

namespace mpool {
namespace {

constexpr std::uint64_t kMaxLength = std::numeric_limits<std::int64_t>::max();
// Page-aligned writes of at least so many bytes are not gathered.
constexpr std::size_t kDirectSize = 128u << 10;
// After a seal, so many bytes before the first page written get room in its mblock too: neighbours
// that are written a little later, by other threads, need none of their own then.
constexpr std::uint64_t kLead = 4u << 20;

}  // namespace

SpareBuffers& spare_buffers() {
  static SpareBuffers buffers;
  return buffers;
}

// What a write is refused for without looking at what was written.
void ContentWriter::Impl::check_range(std::uint64_t offset, std::size_t length) const {
  check_failure();
  if (ended_) raise(EALREADY, "file", "write after its content was sealed");
  if (offset > kMaxLength || length > kMaxLength - offset) {
    raise(EFBIG, "file", "write of {} bytes at {}: beyond {}", length, offset, kMaxLength);
  }
}

void ContentWriter::Impl::check_unwritten(std::uint64_t offset, std::size_t length) const {
  const std::uint64_t end = offset + length;
  if (sealed_.overlaps(offset, end) || fresh_.overlaps(offset, end)) {
    raise(EINVAL, "file", "write of {} bytes at {}: some of them were written before", length,
          offset);
  }
}

void ContentWriter::Impl::claim(std::uint64_t offset, std::size_t length) {
  check_unwritten(offset, length);
  fresh_.insert(offset, offset + length);
  last_end_ = offset + length;
}

// More may follow: the write begins where the last one, the gathered ones or all others end.
bool ContentWriter::Impl::goes_on(std::uint64_t offset) const {
  return offset == last_end_ || continues_gathering(offset) ||
         offset == std::max(fresh_.end(), sealed_.end());
}

// Whether the whole pages of what is at hand go straight to the device. Single pages do when they
// come in no order: they need not wait for each other.
bool ContentWriter::Impl::is_direct(std::uint64_t offset, std::size_t length,
                                    bool sequential) const {
  if (continues_gathering(offset) || !is_aligned(offset, kPageSize)) return false;
  return length >= kDirectSize || (!sequential && is_aligned(length, kPageSize));
}

void ContentWriter::Impl::write(std::uint64_t offset, ConstByteSpan data) {
  Lock lock(mutex_);
  changed_.wait(lock, [&] { return !exclusive_; });
  check_range(offset, data.size());
  if (data.empty()) return;
  const bool sequential = goes_on(offset);
  claim(offset, data.size());
  const User user(*this);
  guarded([&] {
    // Bytes that are only gathered now have their place already: a pool that is full is told to the
    // one who writes, not to the commit.
    open_windows(lock, offset, data.size());
    while (!data.empty()) {
      const std::size_t length = put(lock, offset, data, sequential);
      offset += length;
      data = data.subspan(length);
    }
  });
}

void ContentWriter::Impl::open_windows(Lock& lock, std::uint64_t offset, std::size_t length) {
  for (std::uint64_t page = page_of(offset); page < offset + length;) {
    page = window_of(lock, page).second.limit;
  }
}

void ContentWriter::Impl::reserve(std::uint64_t offset, std::size_t length) {
  Lock lock(mutex_);
  changed_.wait(lock, [&] { return !exclusive_; });
  check_range(offset, length);
  check_unwritten(offset, length);
  const User user(*this);
  guarded([&] { open_windows(lock, offset, length); });
}

// Takes the first bytes of `data`, as many as go the same way; returns how many.
std::size_t ContentWriter::Impl::put(Lock& lock, std::uint64_t offset, ConstByteSpan data,
                                     bool sequential) {
  if (is_direct(offset, data.size(), sequential)) {
    const std::size_t length = round_down(data.size(), kPageSize);
    write_pages(lock, offset, data.first(length));
    return length;
  }
  Gathered interrupted;
  if (!continues_gathering(offset)) interrupted = take_gathered();
  const std::size_t length = gather(offset, data);
  Gathered full;
  if (is_aligned(gather_.end, kGatherSize)) full = take_gathered();
  put_out(lock, std::move(interrupted));
  put_out(lock, std::move(full));
  return length;
}

ContentWriter::Impl::Gathered ContentWriter::Impl::take_gathered() {
  return std::exchange(gather_, Gathered{});
}

// Takes as much of `data` as there is room for; it goes on where gather_ ends, or that is empty.
std::size_t ContentWriter::Impl::gather(std::uint64_t offset, ConstByteSpan data) {
  if (gather_.empty()) {
    if (gather_.buffer.empty()) gather_.buffer = spare_buffers().take();
    gather_.begin = gather_.end = offset;
  }
  const std::size_t at = offset % kGatherSize;
  const std::size_t length = std::min(data.size(), kGatherSize - at);
  std::memcpy(gather_.buffer.data() + at, data.data(), length);
  gather_.end += length;
  return length;
}

void ContentWriter::Impl::put_out(Lock& lock, Gathered gathered) {
  if (gathered.empty()) return;
  const std::uint64_t begin = gathered.pages_begin();
  const std::uint64_t end = gathered.pages_end();
  write_pages(lock, begin, gathered.bytes(begin, end));
  put_ends(lock, gathered);
  spare_buffers().give(std::move(gathered.buffer));
}

void ContentWriter::Impl::put_ends(Lock& lock, const Gathered& gathered) {
  const std::uint64_t begin = gathered.pages_begin();
  const std::uint64_t end = gathered.pages_end();
  put_partial(lock, gathered.begin, gathered.bytes(gathered.begin, begin));
  put_partial(lock, end, gathered.bytes(end, gathered.end));
}

// Adds bytes of one page; the page is written when it is complete.
void ContentWriter::Impl::put_partial(Lock& lock, std::uint64_t offset, ConstByteSpan data) {
  if (data.empty()) return;
  const std::uint64_t number = page_of(offset);
  PartialPage& page = page_in_memory(lock, number);
  std::memcpy(page.buffer.data() + (offset - number), data.data(), data.size());
  page.filled += data.size();
  if (page.filled < kPageSize) {
    page.age = next_age_++;
    by_age_.emplace(page.age, number);
    return;
  }
  write_partial(lock, number, page);
  pages_.erase(number);
}

// The page with its bytes in memory, taken out of by_age_. The lock may have been released
// meanwhile, but not since the page was found idle.
ContentWriter::Impl::PartialPage& ContentWriter::Impl::page_in_memory(Lock& lock,
                                                                      std::uint64_t number) {
  while (true) {
    auto it = pages_.find(number);
    if (it != pages_.end() && it->second.busy) {
      await_change(lock);
      continue;
    }
    if (it != pages_.end() && !it->second.buffer.empty()) {
      by_age_.erase(it->second.age);
      return it->second;
    }
    if (by_age_.size() >= kMaxPartialPages) {
      spill_oldest(lock);
      continue;
    }
    if (it == pages_.end()) {
      PartialPage& page = pages_[number];
      page.filled = sealed_bytes(number);
      page.buffer = AlignedBuffer::zeroed(kPageSize);
      return page;
    }
    PartialPage& page = it->second;
    page.buffer = AlignedBuffer(kPageSize);
    page.busy = true;
    const auto& [base, window] = window_of(lock, number);
    {
      const Unlocked unlocked(lock);
      window.writer->read(number - base, page.buffer.span());
    }
    page.busy = false;
    changed_.notify_all();
    return page;
  }
}

// Writes a page that is out of by_age_, as it is.
void ContentWriter::Impl::write_partial(Lock& lock, std::uint64_t number, PartialPage& page) {
  page.busy = true;
  write_pages(lock, number, page.buffer.span());
  page.busy = false;
  changed_.notify_all();
}

void ContentWriter::Impl::spill_oldest(Lock& lock) {
  const std::uint64_t number = by_age_.begin()->second;
  by_age_.erase(by_age_.begin());
  PartialPage& page = pages_.at(number);
  write_partial(lock, number, page);
  page.buffer = {};
}

std::size_t ContentWriter::Impl::sealed_bytes(std::uint64_t page) const {
  std::size_t bytes = 0;
  sealed_.for_each_range(page, page + kPageSize,
                         [&](std::uint64_t begin, std::uint64_t end) { bytes += end - begin; });
  return bytes;
}

// Writes whole pages to the mblocks they belong to.
void ContentWriter::Impl::write_pages(Lock& lock, std::uint64_t offset, ConstByteSpan pages) {
  while (!pages.empty()) {
    const auto& [base, window] = window_of(lock, offset);
    const std::size_t length = std::min<std::uint64_t>(pages.size(), window.limit - offset);
    {
      const Unlocked unlocked(lock);
      window.writer->write(offset - base, pages.first(length));
    }
    offset += length;
    pages = pages.subspan(length);
  }
}

std::pair<const std::uint64_t, ContentWriter::Impl::Window>& ContentWriter::Impl::window_of(
    Lock& lock, std::uint64_t page) {
  while (true) {
    auto it = windows_.upper_bound(page);
    if (it == windows_.begin() || page >= (--it)->second.limit) return open_window(lock, page);
    if (it->second.writer != nullptr) return *it;
    await_change(lock);
  }
}

std::pair<const std::uint64_t, ContentWriter::Impl::Window>& ContentWriter::Impl::open_window(
    Lock& lock, std::uint64_t page) {
  const std::uint64_t base = base_for(page);
  const auto next = windows_.upper_bound(page);
  const std::uint64_t limit =
      next == windows_.end() ? base + zone_size_ : std::min(base + zone_size_, next->first);
  const auto it = windows_.emplace(base, Window{limit, nullptr}).first;
  try {
    const auto near = next_zone_;
    std::unique_ptr<MblockWriter> writer;
    {
      const Unlocked unlocked(lock);
      writer = allocate_(near);
    }
    next_zone_ = writer->first_zone() + 1;
    it->second.writer = std::move(writer);
  } catch (...) {
    windows_.erase(it);
    keep_failure();
    throw;
  }
  changed_.notify_all();
  return *it;
}

// Where a new window for `page`, which is in none, begins.
std::uint64_t ContentWriter::Impl::base_for(std::uint64_t page) const {
  std::uint64_t base = page - page % zone_size_;
  const auto next = windows_.upper_bound(page);
  if (next != windows_.begin()) base = std::max(base, std::prev(next)->second.limit);
  if (!sealed_.overlaps(base, base + zone_size_)) return base;
  if (page - base > kLead) base = page - kLead;
  // What is sealed solidly will not be written again.
  std::uint64_t unsealed = base;
  sealed_.for_each_range(base, page, [&](std::uint64_t begin, std::uint64_t end) {
    if (begin == unsealed) unsealed = end;
  });
  return std::max(base, page_of(unsealed));
}

void ContentWriter::Impl::drain(Lock& lock) {
  guarded([&] {
    if (!is_deferrable()) put_out(lock, take_gathered());
  });
}

// What is gathered is the end of the file, small, and whole pages but for its last byte.
bool ContentWriter::Impl::is_deferrable() const {
  const std::uint64_t pages_end = round_up(gather_.end, kPageSize);
  return !gather_.empty() && gather_.end - gather_.begin <= kDeferSize &&
         is_aligned(gather_.begin, kPageSize) && gather_.end == fresh_.end() && pages_.empty() &&
         !sealed_.overlaps(gather_.begin, pages_end);
}

void ContentWriter::Impl::defer_gathered(Lock& lock) {
  if (!is_deferrable()) return;
  const auto& [base, window] = window_of(lock, gather_.begin);
  if (gather_.end > window.limit) return;
  window.writer->defer(gather_.begin - base, gathered_pages());
  spare_buffers().give(take_gathered().buffer);
}

AlignedBuffer ContentWriter::Impl::gathered_pages() const {
  const std::size_t length = gather_.end - gather_.begin;
  AlignedBuffer pages = AlignedBuffer::zeroed(round_up(length, kPageSize));
  std::memcpy(pages.data(), gather_.bytes(gather_.begin, gather_.end).data(), length);
  return pages;
}

// False, and nothing done, unless all that was written is gathered, or nothing was, and seal() has
// no I/O to do after it.
bool ContentWriter::Impl::defer_all_now() {
  if (gather_.empty()) return windows_.empty() && pages_.empty();
  if (!is_deferrable() || gather_.begin != 0 || windows_.size() != 1) return false;
  const auto& [base, window] = *windows_.begin();
  if (base != 0 || gather_.end > window.limit) return false;
  AlignedBuffer pages = gathered_pages();
  if (!window.writer->defer_now(0, pages)) return false;
  spare_buffers().give(take_gathered().buffer);
  return true;
}

ContentWriter::Sealed ContentWriter::Impl::seal(Lock& lock, bool last) {
  return guarded([&] {
    put_out(lock, take_gathered());
    while (!by_age_.empty())
      spill_oldest(lock);
    pages_.clear();
    drop_unused_windows(lock);

    Sealed sealed;
    for (auto& [base, window] : windows_) {
      const Unlocked unlocked(lock);
      window.writer->finish();
    }
    for (auto& [base, window] : windows_) {
      add_extents(base, window, last, sealed.extents);
      sealed.mblocks.push_back(std::move(window.writer));
    }
    windows_.clear();
    fresh_.for_each_range(
        0, kMaxLength, [&](std::uint64_t begin, std::uint64_t end) { sealed_.unite(begin, end); });
    fresh_.clear();
    ended_ = last;
    return sealed;
  });
}

// What was reserved and not written.
void ContentWriter::Impl::drop_unused_windows(Lock& lock) {
  std::vector<std::unique_ptr<MblockWriter>> unused;
  for (auto window = windows_.begin(); window != windows_.end();) {
    if (fresh_.overlaps(window->first, window->second.limit)) {
      ++window;
    } else {
      unused.push_back(std::move(window->second.writer));
      window = windows_.erase(window);
    }
  }
  const Unlocked unlocked(lock);  // giving up mblocks may wait for locks of the pool
  unused.clear();
}

// Where no other mblock has, or may later have, a part of the window, its gaps are part of the one
// extent.
void ContentWriter::Impl::add_extents(std::uint64_t base, const Window& window, bool last,
                                      std::vector<Extent>& extents) const {
  const ObjectId id = window.writer->id();
  const std::size_t first = extents.size();
  fresh_.for_each_range(base, window.limit, [&](std::uint64_t begin, std::uint64_t end) {
    extents.push_back({begin, id, begin - base, end - begin});
  });
  assert(extents.size() > first);
  const std::uint64_t end = extents.back().file_offset + extents.back().length;
  if (!last || sealed_.overlaps(base, end)) return;
  extents.resize(first);
  extents.push_back({base, id, 0, end - base});
}

void ContentWriter::Impl::discard(Lock& lock) {
  pages_.clear();
  by_age_.clear();
  gather_ = {};
  fresh_.clear();
  declared_length_ = 0;
  last_end_ = 0;
  failure_ = nullptr;
  next_zone_.reset();
  auto windows = std::exchange(windows_, {});
  const Unlocked unlocked(lock);  // giving up the mblocks may wait for locks of the pool
  windows.clear();
}

ContentWriter::ContentWriter(std::uint64_t zone_size, Allocate allocate)
    : impl_(std::make_unique<Impl>(zone_size, std::move(allocate))) {
  if (zone_size == 0 || zone_size % kPageSize != 0) {
    raise(EINVAL, "file", "zone size {}: not a multiple of {}", zone_size, kPageSize);
  }
}

ContentWriter::~ContentWriter() = default;

void ContentWriter::reserve(std::uint64_t offset, std::size_t length) {
  impl_->reserve(offset, length);
}

void ContentWriter::write(std::uint64_t offset, ConstByteSpan data) {
  impl_->write(offset, data);
}

StartedWrite ContentWriter::start_write(std::uint64_t offset, ConstByteSpan data) {
  return impl_->start_write(offset, data);
}

void end_write(StartedWrite& write, int error) noexcept {
  const std::shared_ptr<ContentWriter> writer = std::move(write.writer);
  writer->end_write(write, error);
}

void ContentWriter::end_write(StartedWrite& write, int error) noexcept {
  impl_->end_write(write, error);
}

void ContentWriter::declare_length(std::uint64_t length) {
  if (length > kMaxLength) raise(EFBIG, "file", "length {}: beyond {}", length, kMaxLength);
  const std::lock_guard lock(impl_->mutex_);
  impl_->declared_length_ = std::max(impl_->declared_length_, length);
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
         (impl_->gather_.empty() || impl_->is_deferrable());
}

ContentWriter::Sealed ContentWriter::seal(bool last) {
  Impl::Lock lock(impl_->mutex_);
  const Impl::Exclusive exclusive(*impl_, lock);
  return impl_->seal(lock, last);
}

ContentWriter::Sealed ContentWriter::seal_deferring() {
  Impl::Lock lock(impl_->mutex_);
  const Impl::Exclusive exclusive(*impl_, lock);
  impl_->guarded([&] { impl_->defer_gathered(lock); });
  return impl_->seal(lock, true);
}

std::optional<ContentWriter::Sealed> ContentWriter::seal_now() {
  Impl::Lock lock(impl_->mutex_);
  if (impl_->failure_ || impl_->exclusive_ || impl_->users_ != 0) return std::nullopt;
  if (!impl_->defer_all_now()) return std::nullopt;
  const Impl::Exclusive exclusive(*impl_, lock);
  return impl_->seal(lock, true);
}

void ContentWriter::discard() {
  Impl::Lock lock(impl_->mutex_);
  const Impl::Exclusive exclusive(*impl_, lock);
  impl_->discard(lock);
}

}  // namespace mpool

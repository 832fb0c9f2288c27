// Sealing, truncating and discarding written content.
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/base/error.h"
#include "engine/object/content_writer_impl.h"

namespace mpool {
namespace {

constexpr HeldPages::Range kEverything{0, UINT64_MAX};

}  // namespace

void ContentWriter::Impl::drain(Lock& lock) {
  guarded([&] {
    if (!packing_ && !is_deferrable()) write_out(lock, kEverything);
  });
}

// True if the part not on the device is the end of the file, small, and whole pages except for its
// last byte.
bool ContentWriter::Impl::is_deferrable() const {
  const auto run = held_.only_dirty_run();
  return run && run->end - run->begin <= memory_.tunables().defer_size &&
         run->end == round_up(fresh_.end(), kPageSize) && !sealed_.overlaps(run->begin, run->end);
}

AlignedBuffer ContentWriter::Impl::deferrable_pages() const {
  const ConstByteSpan pages = held_.span(*held_.only_dirty_run());
  AlignedBuffer copy(pages.size());
  std::memcpy(copy.data(), pages.data(), pages.size());
  return copy;
}

void ContentWriter::Impl::defer_end(Lock& lock) {
  if (packing_ || !is_deferrable()) return;
  const Range run = *held_.only_dirty_run();
  const auto& [base, window] = window_of(lock, run.begin);
  if (run.end > window.limit) return;
  window.writer->defer(run.begin - base, deferrable_pages());
  held_.mark_clean(run);
}

// Returns false and does nothing unless all written content is in memory, or none was written, and
// seal() has no I/O to do after it.
bool ContentWriter::Impl::try_defer_all() {
  if (!held_.has_dirty()) return windows_.empty() && fresh_.empty();
  if (!is_deferrable() || windows_.size() != 1) return false;
  const Range run = *held_.only_dirty_run();
  const auto& [base, window] = *windows_.begin();
  if (base != 0 || run.begin != 0 || run.end > window.limit) return false;
  AlignedBuffer pages = deferrable_pages();
  if (!window.writer->try_defer(0, pages)) return false;
  held_.mark_clean(run);
  return true;
}

ContentWriter::Sealed ContentWriter::Impl::seal(Lock& lock, bool last) {
  return guarded([&] {
    if (seals_into_pack(last)) return seal_packed(lock, last);
    leave_pack(lock);
    write_out(lock, kEverything);
    held_.clear();
    soft_.clear();
    account();
    if (auto unused = take_unused_windows(last); !unused.empty()) {
      const Unlocked unlocked(lock);  // releasing mblocks may block on locks of the pool
      unused.clear();
    }
    Sealed sealed;
    const auto goes_on = [&](const Windows::value_type& window) {
      return !last && window.second.writer->is_gapless();
    };
    for (auto& window : windows_) {
      if (!is_used(window) || goes_on(window)) continue;
      const Unlocked unlocked(lock);
      window.second.writer->finish();
    }
    std::vector<std::uint64_t> ended;  // bases of windows
    for (auto& window : windows_) {
      if (!is_used(window)) continue;
      auto& [base, state] = window;
      const auto first = static_cast<std::ptrdiff_t>(sealed.extents.size());
      add_extents(window, last, sealed.extents);
      add_sealed_parts(*state.writer, sealed.extents.cbegin() + first, sealed.extents.cend());
      const bool stays = goes_on(window);
      const bool extended = state.sealed_from.has_value();
      const std::uint64_t begin = sealed.extents[static_cast<std::size_t>(first)].file_offset;
      state.sealed_from = std::min(begin, state.sealed_from.value_or(begin));
      sealed.mblocks.push_back({.writer = state.writer,
                                .object = stays ? state.writer->seal() : state.writer->finish(),
                                .deferred = state.writer->deferred(),
                                .extended = extended});
      if (!stays) ended.push_back(base);
    }
    fresh_.for_each_range(0, kMaxContentLength, [&](std::uint64_t begin, std::uint64_t end) {
      sealed_.unite(begin, end);
    });
    fresh_.clear();
    for (const std::uint64_t base : ended)
      windows_.erase(base);
    // Nothing can be written in them any more. The others have the mblocks.
    std::erase_if(windows_, [&](const Windows::value_type& window) {
      return window.second.sealed_from && sealed_.contains(window.first, window.second.limit);
    });
    ended_ = ended_ || last;
    sealed.length = length();
    return sealed;
  });
}

// If no other mblock has, or may later have, a part of the window, its gaps are part of the one
// extent.
void ContentWriter::Impl::add_extents(const Windows::value_type& window, bool last,
                                      std::vector<Extent>& extents) const {
  const std::uint64_t base = window.first;
  const ObjectId id = window.second.writer->id();
  const std::size_t first = extents.size();
  fresh_.for_each_range(base, window.second.limit, [&](std::uint64_t begin, std::uint64_t end) {
    extents.push_back({begin, id, begin - base, end - begin});
  });
  assert(extents.size() > first);
  const std::uint64_t end = extents.back().file_offset + extents.back().length;
  if (!last || sealed_.overlaps(base, end)) return;
  extents.resize(first);
  extents.push_back({base, id, 0, end - base});
}

void ContentWriter::Impl::add_sealed_parts(const MblockWriter& writer,
                                           std::vector<Extent>::const_iterator first,
                                           std::vector<Extent>::const_iterator last) {
  for (; first != last; ++first) {
    SealedPart part{.length = first->length,
                    .device = &writer.device(),
                    .device_offset = writer.device_offset() + first->position,
                    .deferred = writer.deferred()};
    const auto next = sealed_parts_.lower_bound(first->file_offset);
    if (next != sealed_parts_.begin()) {
      auto& [begin, before] = *std::prev(next);
      const bool continues = begin + before.length == first->file_offset && !before.pack &&
                             before.device == part.device &&
                             before.device_offset + before.length == part.device_offset;
      if (continues && before.deferred == part.deferred) {
        before.length += part.length;
        continue;
      }
    }
    sealed_parts_[first->file_offset] = std::move(part);
  }
}

void ContentWriter::Impl::truncate(Lock& lock, std::uint64_t length) {
  if (ended_) raise(EALREADY, "file", "truncation after its content was sealed");
  guarded([&] {
    if (length >= this->length()) {
      declared_length_ = length;
      return;
    }
    std::uint64_t first_gone = page_of(length);
    if (fresh_.overlaps(first_gone, length)) {
      const Range page{first_gone, first_gone + kPageSize};
      make_room(lock, page);
      if (needs_read_back(page.begin)) read_back(lock, page.begin);
      // Sealed bytes stay as they are on the device.
      fresh_.for_each_range(length, page.end, [&](std::uint64_t begin, std::uint64_t end) {
        held_.zero({begin, end});
      });
      held_.mark_dirty(page.begin);
      first_gone = page.end;
    }
    RangeSet hard;
    fresh_.for_each_range(length, kMaxContentLength,
                          [&](std::uint64_t begin, std::uint64_t end) { hard.unite(begin, end); });
    soft_.for_each_range(length, kMaxContentLength,
                         [&](std::uint64_t begin, std::uint64_t end) { hard.erase(begin, end); });
    sealed_.for_each_range(length, kMaxContentLength,
                           [&](std::uint64_t begin, std::uint64_t end) { hard.unite(begin, end); });
    hard.for_each_range(0, kMaxContentLength,
                        [&](std::uint64_t begin, std::uint64_t end) { cut_.unite(begin, end); });
    held_.drop_from(first_gone);
    account();
    for (const auto& [base, window] : windows_) {
      if (window.limit > first_gone) {
        window.writer->forget_from(std::max(first_gone, base) - base);
      }
    }
    for (RangeSet* set : {&fresh_, &soft_, &sealed_})
      set->erase(length, kMaxContentLength);
    cut_sealed_parts(length);
    declared_length_ = length;
    drop_deleted_windows(lock, length);
  });
}

// The owner deletes mblocks of which no sealed byte is left: nothing is written there any more.
void ContentWriter::Impl::drop_deleted_windows(Lock& lock, std::uint64_t length) {
  std::vector<std::shared_ptr<MblockWriter>> deleted;
  for (auto window = windows_.begin(); window != windows_.end();) {
    if (window->second.sealed_from && *window->second.sealed_from >= length) {
      deleted.push_back(std::move(window->second.writer));
      window = windows_.erase(window);
    } else {
      ++window;
    }
  }
  if (deleted.empty()) return;
  {
    const Unlocked unlocked(lock);  // releasing mblocks may block on locks of the pool
    deleted.clear();
  }
  // Bytes of the page that stay need another place.
  const std::uint64_t page = page_of(length);
  if (fresh_.overlaps(page, length)) open_windows(lock, page, length - page);
}

void ContentWriter::Impl::cut_sealed_parts(std::uint64_t length) {
  sealed_parts_.erase(sealed_parts_.lower_bound(length), sealed_parts_.end());
  if (sealed_parts_.empty()) return;
  auto& [begin, part] = *sealed_parts_.rbegin();
  part.length = std::min(part.length, length - begin);
}

void ContentWriter::Impl::discard(Lock& lock) {
  held_.clear();
  account();
  for (RangeSet* set : {&fresh_, &soft_, &cut_})
    set->clear();
  declared_length_ = 0;
  last_end_ = 0;
  failure_ = nullptr;
  next_zone_.reset();
  packing_ = pack_ != nullptr && sealed_.empty();
  auto windows = std::exchange(windows_, {});
  const Unlocked unlocked(lock);  // releasing mblocks may block on locks of the pool
  windows.clear();
}

}  // namespace mpool

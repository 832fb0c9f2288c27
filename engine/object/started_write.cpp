// Writes that do not wait.
#include <cstdint>
#include <utility>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/object/content_writer_impl.h"

namespace mpool {

StartedWrite ContentWriter::Impl::start_write(std::uint64_t offset, ConstByteSpan data) {
  Lock lock(mutex_);
  if (exclusive_) return {};
  check_range(offset, data.size());
  if (data.empty()) return StartedWrite(StartedWrite::Kind::done);
  if (!windows_open(offset, data.size())) return {};
  StartedWrite write = is_direct(offset, data.size(), goes_on(offset))
                           ? start_direct(offset, data)
                           : start_gathering(lock, offset, data);
  if (write.kind == StartedWrite::Kind::transfer) ++users_;
  return write;
}

// The transfer of whole pages that lie in one window; must_wait when they do not.
StartedWrite ContentWriter::Impl::transfer_of(std::uint64_t offset, ConstByteSpan pages) {
  const auto* window = open_window_at(offset);
  if (window == nullptr || pages.size() > window->second.limit - offset) return {};
  StartedWrite write(StartedWrite::Kind::transfer);
  write.mblock = window->second.writer.get();
  write.position = offset - window->first;
  write.device = &write.mblock->device();
  write.offset = write.mblock->place(write.position, pages.size());
  write.memory = pages;
  return write;
}

StartedWrite ContentWriter::Impl::start_direct(std::uint64_t offset, ConstByteSpan data) {
  if (!is_aligned(reinterpret_cast<std::uintptr_t>(data.data()), kPageSize)) return {};
  const ConstByteSpan pages = data.first(round_down(data.size(), kPageSize));
  const ConstByteSpan rest = data.subspan(pages.size());
  if (!rest.empty() && !gather_.empty()) return {};
  StartedWrite write = transfer_of(offset, pages);
  if (write.kind == StartedWrite::Kind::must_wait) return write;
  if (!rest.empty() && gather_.buffer.empty()) gather_.buffer = spare_buffers().take();
  claim(offset, data.size());
  if (!rest.empty()) gather(offset + pages.size(), rest);
  return write;
}

// What leaves gather_ by it, because it is full or interrupted, is the transfer.
StartedWrite ContentWriter::Impl::start_gathering(Lock& lock, std::uint64_t offset,
                                                  ConstByteSpan data) {
  const bool continues = continues_gathering(offset);
  const bool interrupts = !continues && !gather_.empty();
  const std::size_t room = kGatherSize - offset % kGatherSize;
  const bool fills = data.size() >= room;
  if ((interrupts && fills) || (fills && data.size() - room >= kGatherSize)) return {};

  StartedWrite write(StartedWrite::Kind::done);
  AlignedBuffer next;  // got before anything changes
  if (gather_.buffer.empty()) gather_.buffer = spare_buffers().take();
  if (interrupts || fills) {
    Gathered leaving{.buffer = {}, .begin = gather_.begin, .end = gather_.end};
    if (!continues && fills) leaving.begin = offset;
    if (fills) leaving.end = offset + room;
    const std::uint64_t begin = leaving.pages_begin();
    const std::uint64_t end = leaving.pages_end();
    if (!has_room_for_ends(leaving)) return {};
    if (begin < end) {
      write = transfer_of(begin, gather_.bytes(begin, end));
      if (write.kind == StartedWrite::Kind::must_wait) return write;
    }
    if (interrupts || data.size() > room) next = spare_buffers().take();
  }
  claim(offset, data.size());
  // A failure from here on would lose what others gave.
  guarded([&] {
    if (!interrupts) data = data.subspan(gather(offset, data));
    if (!interrupts && !fills) return;
    Gathered leaving = take_gathered();
    gather_.buffer = std::move(next);
    if (!data.empty()) gather(interrupts ? offset : offset + room, data);
    put_ends(lock, leaving);
    write.gathered = std::move(leaving.buffer);
  });
  if (write.kind == StartedWrite::Kind::done) spare_buffers().give(std::move(write.gathered));
  return write;
}

// The ragged ends can be put into pages_ without I/O.
bool ContentWriter::Impl::has_room_for_ends(const Gathered& gathered) const {
  const std::uint64_t begin = gathered.pages_begin();
  const std::uint64_t end = gathered.pages_end();
  return has_room_for_part(gathered.begin, begin - gathered.begin) &&
         has_room_for_part(end, gathered.end - end);
}

bool ContentWriter::Impl::has_room_for_part(std::uint64_t offset, std::size_t length) const {
  constexpr std::size_t kEnds = 2;
  if (length == 0) return true;
  const std::uint64_t number = page_of(offset);
  const auto page = pages_.find(number);
  if (page == pages_.end()) {
    return by_age_.size() + kEnds <= kMaxPartialPages && sealed_bytes(number) + length < kPageSize;
  }
  return !page->second.busy && !page->second.buffer.empty() &&
         page->second.filled + length < kPageSize;
}

void ContentWriter::Impl::end_write(StartedWrite& write, int error) {
  try {
    if (error != 0) {
      raise_system(error, write.device->name(),
                   fmt::format("write of {} bytes at {}", write.memory.size(), write.offset));
    }
    write.mblock->wrote(write.position, write.memory.size());
  } catch (...) {
    const std::lock_guard lock(mutex_);
    keep_failure();
  }
  spare_buffers().give(std::move(write.gathered));
  write.kind = StartedWrite::Kind::done;
  const std::lock_guard lock(mutex_);
  if (--users_ == 0) changed_.notify_all();
}

// The window of a page if it can be written to without waiting, or null.
std::pair<const std::uint64_t, ContentWriter::Impl::Window>* ContentWriter::Impl::open_window_at(
    std::uint64_t page) {
  auto it = windows_.upper_bound(page);
  if (it == windows_.begin() || page >= (--it)->second.limit) return nullptr;
  return it->second.writer != nullptr ? &*it : nullptr;
}

bool ContentWriter::Impl::windows_open(std::uint64_t offset, std::size_t length) {
  const std::uint64_t end = offset + length;
  for (std::uint64_t page = page_of(offset); page < end;) {
    const auto* window = open_window_at(page);
    if (window == nullptr) return false;
    page = window->second.limit;
  }
  return true;
}

}  // namespace mpool

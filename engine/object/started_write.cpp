// Non-blocking writes.
#include <cstdint>
#include <utility>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/object/content_writer_impl.h"

namespace mpool {

StartedWrite ContentWriter::Impl::start_write(std::uint64_t offset, ConstByteSpan data,
                                              Buffering buffering) {
  const Lock lock(mutex_);
  if (exclusive_) return {};
  check_range(offset, data.size());
  if (data.empty()) return StartedWrite(StartedWrite::Kind::done);
  if (is_busy(pages_of(offset, data.size()))) return {};
  check_unwritten(offset, data.size());
  const std::uint64_t end = offset + data.size();
  if (packing_) {
    if (!can_pack(end) || !try_reserve(end)) return {};
  } else if (!windows_open(offset, data.size())) {
    return {};
  }
  StartedWrite write = is_direct(offset, data.size(), is_sequential(offset), buffering)
                           ? start_direct(offset, data)
                           : start_holding(offset, data);
  if (write.kind == StartedWrite::Kind::transfer) {
    ++users_;
    busy_.insert(write.file_offset, write.file_offset + write.memory.size());
  }
  return write;
}

// The transfer of whole pages that lie in one window; otherwise must_wait.
StartedWrite ContentWriter::Impl::transfer_of(std::uint64_t offset, ConstByteSpan pages) {
  const auto* window = open_window_at(offset);
  if (window == nullptr || pages.size() > window->second.limit - offset) return {};
  StartedWrite write(StartedWrite::Kind::transfer);
  write.mblock = window->second.writer.get();
  write.file_offset = offset;
  write.position = offset - window->first;
  write.device = &write.mblock->device();
  write.offset = write.mblock->place(write.position, pages.size());
  write.memory = pages;
  return write;
}

StartedWrite ContentWriter::Impl::start_direct(std::uint64_t offset, ConstByteSpan data) {
  if (!is_aligned(data.data(), kPageSize)) return {};
  const ConstByteSpan pages = data.first(round_down(data.size(), kPageSize));
  const ConstByteSpan rest = data.subspan(pages.size());
  const Range rest_range{offset + pages.size(), offset + data.size()};
  if (!rest.empty() && (needs_read_back(rest_range) ||
                        held_.bytes() + held_.growth(rest_range, false) > memory_.max_per_file())) {
    return {};
  }
  StartedWrite write = transfer_of(offset, pages);
  if (write.kind == StartedWrite::Kind::must_wait) return write;
  if (!rest.empty() && !take_room(rest_range, false)) return {};
  note_written(offset, pages.size());
  if (!rest.empty()) hold(rest_range.begin, rest);
  return write;
}

// Takes room for the pages of the range; false: memory is short.
bool ContentWriter::Impl::take_room(Range range, bool whole) {
  const std::size_t growth = held_.growth(range, whole);
  if (growth == 0) return true;
  if (!memory_.try_take(growth)) return false;
  accounted_ += growth;
  try {
    held_.make_room(range, whole);
  } catch (...) {
    account();
    throw;
  }
  return true;
}

// If a piece must leave the memory for it, that piece is the transfer.
StartedWrite ContentWriter::Impl::start_holding(std::uint64_t offset, ConstByteSpan data) {
  const Range range{offset, offset + data.size()};
  const std::size_t before = held_.bytes();
  if (needs_read_back(range) || !take_room(range, wants_whole_piece(offset))) return {};
  StartedWrite write(StartedWrite::Kind::done);
  if (held_.bytes() > std::max(before, memory_.max_per_file())) {
    write = evict_as_transfer(range);
    if (write.kind == StartedWrite::Kind::must_wait) return write;
  }
  hold(offset, data);
  return write;
}

// Evicts the oldest piece that can leave, if it is one run in one window.
StartedWrite ContentWriter::Impl::evict_as_transfer(Range needed) {
  const auto piece = held_.oldest([&](Range range) { return can_leave(range, needed); });
  if (!piece) return {};
  const auto run = held_.next_dirty(piece->begin, piece->end);
  if (!run || held_.next_dirty(run->end, piece->end)) return {};
  StartedWrite write = transfer_of(run->begin, held_.span(*run));
  if (write.kind == StartedWrite::Kind::must_wait) return write;
  write.gathered = held_.take(piece->begin);
  accounted_ -= write.gathered.size();  // freed at the end of the transfer
  soft_.erase(piece->begin, piece->end);
  return write;
}

void ContentWriter::Impl::end_write(StartedWrite& write, int error) {
  const Range pages{write.file_offset, write.file_offset + write.memory.size()};
  std::exception_ptr failure;
  try {
    if (error != 0) {
      raise_system(error, write.device->name(),
                   fmt::format("write of {} bytes at {}", write.memory.size(), write.offset));
    }
    write.mblock->wrote(write.position, write.memory.size());
  } catch (...) {
    failure = std::current_exception();
  }
  if (!write.gathered.empty()) {
    memory_.give(write.gathered.size());
    memory_.give_piece(std::move(write.gathered));
  }
  write.kind = StartedWrite::Kind::done;
  const std::lock_guard lock(mutex_);
  if (failure && !failure_) failure_ = failure;
  release_busy(pages);
  if (--users_ == 0 || failure) changed_.notify_all();
}

}  // namespace mpool

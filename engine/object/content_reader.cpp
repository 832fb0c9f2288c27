// Reading a file that is being written.

#include "engine/base/error.h"
#include "engine/object/content_writer_impl.h"

namespace mpool {

std::size_t ContentWriter::Impl::read(std::uint64_t offset, ByteSpan into) {
  Lock lock(mutex_);
  changed_.wait(lock, [&] { return !exclusive_; });
  const std::uint64_t size = length();
  if (offset >= size || into.empty()) return 0;
  into = into.first(std::min<std::uint64_t>(into.size(), size - offset));
  const User user(*this);
  wait_until_idle(lock, pages_of(offset, into.size()));
  check_failure();
  if (!fresh_.contains(offset, offset + into.size())) std::ranges::fill(into, std::byte{0});
  std::vector<DeviceRead> reads;
  collect_fresh(offset, into, reads);
  collect_sealed(offset, into, reads);
  const Unlocked unlocked(lock);
  for (const DeviceRead& read : reads) {
    if (read.pack) {
      read.pack->read(read.record, read.offset, read.into);
      continue;
    }
    if (read.deferred) read.deferred->write_out();
    read_bytes(*read.device, read.offset, read.into);
  }
  return into.size();
}

// Copies the content in memory.
void ContentWriter::Impl::collect_fresh(std::uint64_t offset, ByteSpan into,
                                        std::vector<DeviceRead>& reads) {
  fresh_.for_each_range(offset, offset + into.size(), [&](std::uint64_t begin, std::uint64_t end) {
    while (begin < end) {
      const bool held = held_.holds(page_of(begin));
      std::uint64_t stop = page_of(begin) + kPageSize;
      while (stop < end && held_.holds(stop) == held)
        stop += kPageSize;
      stop = std::min(stop, end);
      const ByteSpan part = into.subspan(begin - offset, stop - begin);
      if (held) {
        held_.copy(begin, part);
      } else {
        collect_unheld(begin, part, reads);
      }
      begin = stop;
    }
  });
}

void ContentWriter::Impl::collect_unheld(std::uint64_t offset, ByteSpan into,
                                         std::vector<DeviceRead>& reads) {
  while (!into.empty()) {
    const auto* window = open_window_at(offset);
    const std::uint64_t position = window == nullptr ? 0 : offset - window->first;
    const std::size_t length =
        window == nullptr ? 0 : std::min<std::uint64_t>(into.size(), window->second.limit - offset);
    // An unwritten part of a zone shows its earlier content.
    if (window == nullptr || !window->second.writer->has(position, length)) {
      raise(EIO, "file", "{} bytes at {} of what was written are nowhere", into.size(), offset);
    }
    const MblockWriter& writer = *window->second.writer;
    reads.push_back({.device = &writer.device(),
                     .offset = writer.device_offset() + position,
                     .into = into.first(length),
                     .deferred = nullptr});
    offset += length;
    into = into.subspan(length);
  }
}

void ContentWriter::Impl::collect_sealed(std::uint64_t offset, ByteSpan into,
                                         std::vector<DeviceRead>& reads) const {
  sealed_.for_each_range(offset, offset + into.size(), [&](std::uint64_t begin, std::uint64_t end) {
    while (begin < end) {
      auto part = sealed_parts_.upper_bound(begin);
      if (part == sealed_parts_.begin() || begin >= (--part)->first + part->second.length) {
        raise(EIO, "file", "{} bytes at {} could not be recorded", end - begin, begin);
      }
      const std::uint64_t stop = std::min(end, part->first + part->second.length);
      reads.push_back({.device = part->second.device,
                       .offset = part->second.device_offset + (begin - part->first),
                       .into = into.subspan(begin - offset, stop - begin),
                       .deferred = part->second.deferred,
                       .pack = part->second.pack,
                       .record = part->second.record});
      begin = stop;
    }
  });
}

}  // namespace mpool

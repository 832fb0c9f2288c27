#include "engine/object/mblock.h"

#include <cassert>
#include <cerrno>

#include <fmt/format.h>

#include "engine/base/error.h"

namespace mpool {
namespace {

constexpr std::size_t kChunkSize = 1u << 20;  // bytes of one bounced read or zero fill

std::string subject(const Pool& pool, const ObjectRecord& object) {
  return fmt::format("mblock {} of pool {}", object.id.to_string(), pool.name());
}

const AlignedBuffer& zeros() {
  static const AlignedBuffer buffer = AlignedBuffer::zeroed(kChunkSize);
  return buffer;
}

// Reads [offset, offset + into.size()) of the device through a bounce buffer.
void read_bounced(Device& device, std::uint64_t offset, ByteSpan into) {
  if (into.empty()) return;
  const std::uint64_t whole =
      round_up(offset + into.size(), kPageSize) - round_down(offset, kPageSize);
  AlignedBuffer buffer(std::min<std::uint64_t>(whole, kChunkSize));
  while (!into.empty()) {
    const std::uint64_t first = round_down(offset, kPageSize);
    const std::size_t skip = offset - first;
    const std::size_t length = std::min(into.size(), buffer.size() - skip);
    device.read(first, buffer.span(0, round_up(skip + length, kPageSize)));
    std::memcpy(into.data(), buffer.data() + skip, length);
    offset += length;
    into = into.subspan(length);
  }
}

}  // namespace

MblockWriter::MblockWriter(Pool& pool, const Placement& placement)
    : pool_(pool),
      object_(pool.allocate(ObjectType::mblock, 0, placement)),
      capacity_(pool.capacity_of(object_)) {}

MblockWriter::~MblockWriter() {
  if (!released_) pool_.abort(object_);
}

void MblockWriter::write(std::uint64_t offset, ConstByteSpan pages) {
  const std::uint64_t at = place(offset, pages.size());
  if (pages.empty()) return;
  device().write(at, pages);
  wrote(offset, pages.size());
}

void MblockWriter::defer(std::uint64_t offset, AlignedBuffer pages) {
  if (!try_defer(offset, pages)) write(offset, pages.span());
}

bool MblockWriter::try_defer(std::uint64_t offset, AlignedBuffer& pages) {
  const std::uint64_t at = place(offset, pages.size());
  const std::size_t length = pages.size();
  deferred_ = DeferredWrite::make(pool_.write_memory(), device(), at, pages);
  if (!deferred_) return false;
  wrote(offset, length);
  return true;
}

Device& MblockWriter::device() const {
  return pool_.device(object_.media_class);
}

std::uint64_t MblockWriter::place(std::uint64_t offset, std::size_t length) const {
  if (!is_aligned(offset, kPageSize) || !is_aligned(length, kPageSize) || offset > capacity_ ||
      length > capacity_ - offset) {
    raise(EINVAL, subject(pool_, object_),
          "write of {} bytes at {}: not whole pages inside its {} bytes", length, offset,
          capacity_);
  }
  const std::lock_guard lock(mutex_);
  if (finished_) raise(EALREADY, subject(pool_, object_), "write after it was finished");
  return pool_.offset_of(object_) + offset;
}

void MblockWriter::wrote(std::uint64_t offset, std::size_t length) {
  const std::lock_guard lock(mutex_);
  written_.unite(offset, offset + length);
}

bool MblockWriter::has(std::uint64_t offset, std::uint64_t length) const {
  const std::lock_guard lock(mutex_);
  return written_.contains(offset, offset + length);
}

void MblockWriter::forget_from(std::uint64_t offset) {
  const std::lock_guard lock(mutex_);
  offset = std::max(offset, sealed_length_);
  written_.erase(offset, std::max(offset, written_.end()));
}

bool MblockWriter::is_gapless() const {
  const std::lock_guard lock(mutex_);
  return written_.contains(0, written_.end());
}

ObjectRecord MblockWriter::seal() {
  const std::lock_guard lock(mutex_);
  assert(!finished_ && written_.contains(0, written_.end()));
  sealed_length_ = written_.end();
  object_.written_length = sealed_length_;
  return object_;
}

void MblockWriter::read(std::uint64_t offset, ByteSpan pages) const {
  {
    std::lock_guard lock(mutex_);
    if (!is_aligned(offset, kPageSize) || !is_aligned(pages.size(), kPageSize) ||
        pages.size() > capacity_ || !written_.contains(offset, offset + pages.size())) {
      raise(EINVAL, subject(pool_, object_),
            "read of {} bytes at {}: not whole pages that were written", pages.size(), offset);
    }
  }
  if (pages.empty()) return;
  pool_.device(object_.media_class).read(pool_.offset_of(object_) + offset, pages);
}

const ObjectRecord& MblockWriter::finish() {
  RangeSet written;
  {
    std::lock_guard lock(mutex_);
    if (finished_) return object_;
    written = written_;
  }
  Device& device = pool_.device(object_.media_class);
  const std::uint64_t start = pool_.offset_of(object_);
  written.for_each_gap(written.end(), [&](std::uint64_t begin, std::uint64_t end) {
    while (begin < end) {
      const std::size_t length = std::min<std::uint64_t>(end - begin, kChunkSize);
      device.write(start + begin, zeros().span(0, length));
      begin += length;
    }
  });
  std::lock_guard lock(mutex_);
  object_.written_length = written.end();
  finished_ = true;
  return object_;
}

void read_mblock(const Pool& pool, const ObjectRecord& mblock, std::uint64_t offset,
                 ByteSpan into) {
  if (!pool.has_class(mblock.media_class)) {
    raise(EIO, subject(pool, mblock), "the {} device is missing", to_string(mblock.media_class));
  }
  // The written length comes from the media: never read past the zone.
  const std::uint64_t length = std::min(mblock.written_length, pool.capacity_of(mblock));
  if (offset > length || into.size() > length - offset) {
    raise(EINVAL, subject(pool, mblock), "read of {} bytes at {}: not inside its {} bytes",
          into.size(), offset, length);
  }
  read_bytes(pool.device(mblock.media_class), pool.offset_of(mblock) + offset, into);
}

void read_bytes(Device& device, std::uint64_t offset, ByteSpan into) {
  // Whole pages are read straight into the caller's memory where they are aligned with pages of it;
  // otherwise everything is bounced.
  const std::size_t head =
      std::min<std::uint64_t>(round_up(offset, kPageSize) - offset, into.size());
  const std::size_t middle = round_down(into.size() - head, kPageSize);
  if (middle == 0 || !is_aligned(into.data() + head, kPageSize)) {
    read_bounced(device, offset, into);
    return;
  }
  read_bounced(device, offset, into.first(head));
  device.read(offset + head, into.subspan(head, middle));
  read_bounced(device, offset + head + middle, into.subspan(head + middle));
}

ObjectId store_mblock(Pool& pool, const Placement& placement, ConstByteSpan content) {
  MblockWriter writer(pool, placement);
  const std::size_t whole = round_down(content.size(), kPageSize);
  writer.write(0, content.first(whole));
  if (whole < content.size()) {
    AlignedBuffer last = AlignedBuffer::zeroed(kPageSize);
    std::memcpy(last.data(), content.data() + whole, content.size() - whole);
    writer.write(whole, last.span());
  }
  const ObjectRecord& object = writer.finish();
  pool.device(object.media_class).flush();
  pool.commit(std::span(&object, 1));
  writer.release();
  return object.id;
}

}  // namespace mpool

#include "engine/object/packed_record.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "engine/base/aligned_buffer.h"
#include "engine/base/error.h"
#include "engine/base/size.h"
#include "engine/format/log_block.h"
#include "engine/io/device.h"

namespace mpool {
namespace {

constexpr std::uint64_t kHeaders = LogBlockHeader::kSize + ChunkHeader::kSize;

std::uint64_t content_per_block(std::uint64_t sector_size) {
  return sector_size - kHeaders;
}

// How a record is cut into chunks: one in each of consecutive blocks.
struct Cut {
  Cut(std::uint32_t sector_size, const PackedRecord& record)
      : sector(sector_size),
        first_block(record.position / sector_size),
        first_offset(record.position % sector_size),
        length(record.length),
        first_length(std::min(length, sector - first_offset - ChunkHeader::kSize)),
        blocks(1 + ceil_div(length - first_length, content_per_block(sector))) {}

  // The chunk, counted from 0, that has this byte of the content.
  std::uint64_t chunk_of(std::uint64_t offset) const {
    return offset < first_length ? 0 : 1 + (offset - first_length) / content_per_block(sector);
  }
  // The first byte of the content in a chunk, and the bytes in it.
  std::uint64_t start(std::uint64_t chunk) const {
    return chunk == 0 ? 0 : first_length + (chunk - 1) * content_per_block(sector);
  }
  std::uint64_t size(std::uint64_t chunk) const {
    return chunk == 0 ? first_length : std::min(length - start(chunk), content_per_block(sector));
  }
  // Of its descriptor in the block.
  std::uint64_t offset_of(std::uint64_t chunk) const {
    return chunk == 0 ? first_offset : LogBlockHeader::kSize;
  }
  ChunkHeader header(std::uint64_t chunk) const {
    ChunkType type = chunk + 1 == blocks ? ChunkType::data_last : ChunkType::data_middle;
    if (chunk == 0) type = blocks == 1 ? ChunkType::data_full : ChunkType::data_first;
    return {.record_length = static_cast<std::uint32_t>(length),
            .chunk_length = static_cast<std::uint16_t>(size(chunk)),
            .type = type};
  }

  std::uint64_t sector;
  std::uint64_t first_block, first_offset;
  std::uint64_t length;
  std::uint64_t first_length;
  std::uint64_t blocks;
};

[[noreturn]] void raise_damaged(const MlogLocation& log, const Cut& cut, std::uint64_t chunk,
                                std::string_view what) {
  const std::uint64_t block = cut.first_block + chunk;
  raise(EIO, log.name, "log block {} (byte {} of {}), with a part of {} bytes of a file: {}", block,
        log.offset + block * cut.sector, log.device->name(), cut.length, what);
}

}  // namespace

std::uint64_t max_packed_size(std::uint32_t sector_size, std::uint64_t length) {
  // Less than a descriptor is lost at the end of the block where it begins.
  return length + 2 * ChunkHeader::kSize +
         kHeaders * ceil_div(length, content_per_block(sector_size));
}

std::uint64_t packed_capacity(std::uint32_t sector_size, std::uint64_t log_size) {
  return log_size / sector_size * content_per_block(sector_size);
}

std::optional<std::uint64_t> end_of_packed(std::uint32_t sector_size, std::uint64_t log_size,
                                           const PackedRecord& record) {
  const std::uint64_t offset = record.position % sector_size;
  const bool fits = record.length > 0 && record.length <= log_size && record.length <= UINT32_MAX &&
                    record.position < log_size && offset >= LogBlockHeader::kSize &&
                    sector_size - offset >= ChunkHeader::kSize;
  if (!fits) return std::nullopt;
  const Cut cut(sector_size, record);
  const std::uint64_t end = (cut.first_block + cut.blocks) * sector_size;
  return end <= log_size ? std::optional(end) : std::nullopt;
}

PackedPages pages_of_packed(std::uint32_t sector_size, const PackedRecord& record,
                            std::uint64_t offset, std::size_t length) {
  assert(length > 0 && offset < record.length && length <= record.length - offset);
  const Cut cut(sector_size, record);
  const std::uint64_t first = cut.first_block + cut.chunk_of(offset);
  const std::uint64_t last = cut.first_block + cut.chunk_of(offset + length - 1);
  const std::uint64_t begin = round_down(first * sector_size, kPageSize);
  return {begin, round_up((last + 1) * sector_size, kPageSize) - begin};
}

void unpack(const MlogLocation& log, const PackedRecord& record, std::uint64_t offset,
            ConstByteSpan pages, ByteSpan into) {
  const Cut cut(log.sector_size, record);
  const std::uint64_t begin = pages_of_packed(log.sector_size, record, offset, into.size()).begin;
  // Of the block before:
  std::optional<std::uint32_t> previous;  // its flush set
  std::optional<ChunkHeader> chunk_before;
  for (std::uint64_t chunk = cut.chunk_of(offset); !into.empty(); ++chunk) {
    const ConstByteSpan block =
        pages.subspan((cut.first_block + chunk) * cut.sector - begin, cut.sector);
    const auto header = LogBlockHeader::load(block);
    if (!header || header->magic != log.uuid) {
      raise_damaged(log, cut, chunk, "it is no block of this log");
    }
    if (header->generation != log.generation) {
      raise_damaged(
          log, cut, chunk,
          fmt::format("its generation is {}, expected {}", header->generation, log.generation));
    }
    if (previous && header->previous_flush_set != *previous) {
      raise_damaged(log, cut, chunk,
                    fmt::format("it follows flush set {}, but the block before it is of {}",
                                header->previous_flush_set, *previous));
    }
    previous = header->flush_set;
    const std::uint64_t at = cut.offset_of(chunk);
    const auto found = ChunkHeader::load(block, at);
    const bool is_long_enough =
        found && found->record_length >= record.length &&
        (!chunk_before || found->record_length == chunk_before->record_length);
    if (!is_long_enough ||
        *found != Cut(log.sector_size, {record.position, found->record_length}).header(chunk)) {
      raise_damaged(log, cut, chunk, "this part of the record is not there");
    }
    chunk_before = found;
    const std::uint64_t skip = offset - cut.start(chunk);
    const std::size_t count = std::min<std::uint64_t>(into.size(), cut.size(chunk) - skip);
    std::memcpy(into.data(), block.data() + at + ChunkHeader::kSize + skip, count);
    offset += count;
    into = into.subspan(count);
  }
}

void read_packed(const MlogLocation& log, const PackedRecord& record, std::uint64_t offset,
                 ByteSpan into) {
  if (into.empty()) return;
  const bool inside = end_of_packed(log.sector_size, log.capacity, record).has_value() &&
                      offset < record.length && into.size() <= record.length - offset;
  if (!inside) {
    raise(EIO, log.name, "it cannot have {} bytes at {} of a record of {} bytes at {}", into.size(),
          offset, record.length, record.position);
  }
  const PackedPages pages = pages_of_packed(log.sector_size, record, offset, into.size());
  AlignedBuffer buffer(pages.length);
  log.device->read(log.offset + pages.begin, buffer.span());
  unpack(log, record, offset, buffer.span(), into);
}

}  // namespace mpool

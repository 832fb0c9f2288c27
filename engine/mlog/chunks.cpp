#include "engine/mlog/chunks.h"

#include <cerrno>

#include <fmt/format.h>

#include "engine/base/error.h"

namespace mpool {

void raise_corrupt(const LogSite& site, const std::string& what) {
  raise(ENODATA, site.log, "log block {} offset {}: {}", site.block, site.offset, what);
}

std::optional<Chunk> chunk_at(const std::string& log, std::uint32_t block_index,
                              ConstByteSpan block, std::size_t offset) {
  const LogSite site{log, block_index, offset};
  if (block.size() - offset < ChunkHeader::kSize) return std::nullopt;
  const auto header = ChunkHeader::load(block, offset);
  if (!header) raise_corrupt(site, "unknown record type");
  if (header->type == ChunkType::end_of_block) {
    if (offset == LogBlockHeader::kSize) raise_corrupt(site, "log block without records");
    return std::nullopt;
  }
  const std::size_t payload_at = offset + ChunkHeader::kSize;
  const std::size_t room = block.size() - payload_at;
  if (header->chunk_length > room) {
    raise_corrupt(site, fmt::format("chunk of {} bytes, room for {}", header->chunk_length, room));
  }
  return Chunk{.header = *header,
               .payload = block.subspan(payload_at, header->chunk_length),
               .offset = offset,
               .end = payload_at + header->chunk_length};
}

ChunkOrder::Event ChunkOrder::accept(const std::string& log, std::uint32_t block_index,
                                     const Chunk& chunk) {
  const LogSite site{log, block_index, chunk.offset};
  switch (chunk.header.type) {
    case ChunkType::data_full:
    case ChunkType::data_first:
      return begin(site, chunk);
    case ChunkType::data_middle:
    case ChunkType::data_last:
      return continue_record(site, chunk);
    case ChunkType::compaction_start:
    case ChunkType::compaction_end:
      break;
    case ChunkType::end_of_block:
      raise_corrupt(site, "end of log block taken for a record");
  }
  if (in_record_) raise_corrupt(site, "compaction marker inside a record");
  if (chunk.header.record_length != 0 || chunk.header.chunk_length != 0) {
    raise_corrupt(site, "compaction marker with a length");
  }
  return chunk.header.type == ChunkType::compaction_start ? Event::compaction_start
                                                          : Event::compaction_end;
}

ChunkOrder::Event ChunkOrder::begin(const LogSite& site, const Chunk& chunk) {
  if (in_record_ && !chunk.first_in_block()) {
    raise_corrupt(site, "new record before the end of the one before it");
  }
  const ChunkHeader& header = chunk.header;
  if (header.type == ChunkType::data_full) {
    if (header.chunk_length != header.record_length) {
      raise_corrupt(site, fmt::format("whole record of {} bytes in a chunk of {}",
                                      header.record_length, header.chunk_length));
    }
    in_record_ = false;
    return Event::record;
  }
  if (header.chunk_length > header.record_length) {
    raise_corrupt(site, fmt::format("record of {} bytes begins with a chunk of {}",
                                    header.record_length, header.chunk_length));
  }
  in_record_ = true;
  length_ = header.record_length;
  received_ = header.chunk_length;
  return Event::record_begins;
}

ChunkOrder::Event ChunkOrder::continue_record(const LogSite& site, const Chunk& chunk) {
  const ChunkHeader& header = chunk.header;
  if (!in_record_) raise_corrupt(site, "continuation of a record that did not begin");
  if (!chunk.first_in_block()) raise_corrupt(site, "continuation not at the start of a log block");
  if (header.record_length != length_) {
    raise_corrupt(site, fmt::format("record length {}, {} in the chunk before",
                                    header.record_length, length_));
  }
  received_ += header.chunk_length;
  const bool last = header.type == ChunkType::data_last;
  if (received_ > length_ || (last && received_ != length_)) {
    raise_corrupt(site,
                  fmt::format("{} bytes in the chunks of a record of {}", received_, length_));
  }
  if (!last) return Event::record_continues;
  in_record_ = false;
  return Event::record_ends;
}

}  // namespace mpool

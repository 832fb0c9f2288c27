// Walking the record chunks of log blocks, and the order they must have (engine/format/README.md,
// "mlog").
// Shared by opening and reading a log; pure, no I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/format/log_block.h"

namespace mpool {

// A position in a log, for messages.
struct LogSite {
  const std::string& log;
  std::uint32_t block;
  std::size_t offset;  // bytes from the start of the block
};

// Throws ENODATA: "<log>: block 7 offset 40: <what>".
[[noreturn]] void raise_corrupt(const LogSite& site, const std::string& what);

struct Chunk {
  ChunkHeader header;
  ConstByteSpan payload;
  std::size_t offset = 0;  // of its descriptor in the block
  std::size_t end = 0;     // offset after its payload
  bool first_in_block() const { return offset == LogBlockHeader::kSize; }
};

// The chunk at `offset` of `block`; nullopt when the block ends there. ENODATA for an invalid
// descriptor: an unknown type, a chunk that exceeds the block, a block without any chunk.
std::optional<Chunk> chunk_at(const std::string& log, std::uint32_t block_index,
                              ConstByteSpan block, std::size_t offset);

// Follows the chunks of a log in order and distinguishes complete records from torn ones.
class ChunkOrder {
 public:
  enum class Event {
    record,            // a whole record in one chunk
    record_begins,     // its first chunk
    record_continues,  // a middle chunk
    record_ends,       // its last chunk
    compaction_start,
    compaction_end,
  };
  // Takes the next chunk. An incomplete record followed by a new record at the start of a block was
  // torn by a failed flush and is dropped. ENODATA when the chunk cannot follow.
  Event accept(const std::string& log, std::uint32_t block_index, const Chunk& chunk);
  // The last chunk was neither the last one of a record nor a marker.
  bool in_record() const { return in_record_; }

 private:
  Event begin(const LogSite& site, const Chunk& chunk);
  Event continue_record(const LogSite& site, const Chunk& chunk);

  bool in_record_ = false;
  std::uint32_t length_ = 0;    // of the record under way
  std::uint64_t received_ = 0;  // bytes of it so far
};

}  // namespace mpool

// Log blocks and the record chunks inside them (engine/format/README.md, "mlog").
#pragma once

#include <cstdint>
#include <optional>

#include "engine/base/bytes.h"
#include "engine/base/uuid.h"

namespace mpool {

// The first 40 bytes of every log block (one sector).
struct LogBlockHeader {
  static constexpr std::size_t kSize = 40;
  static constexpr std::uint16_t kVersion = 1;

  Uuid magic;  // the mlog's UUID
  std::uint32_t previous_flush_set = 0;
  std::uint32_t flush_set = 0;
  std::uint64_t generation = 0;

  void store(ByteSpan block) const;
  // nullopt when the version is not kVersion (no log contains such a block).
  static std::optional<LogBlockHeader> load(ConstByteSpan block);

  bool operator==(const LogBlockHeader&) const = default;
};

enum class ChunkType : std::uint8_t {
  end_of_block = 0,
  data_full = 1,
  data_first = 2,
  data_middle = 3,
  data_last = 4,
  compaction_start = 5,
  compaction_end = 6,
};

// The descriptor before each chunk of a record.
struct ChunkHeader {
  static constexpr std::size_t kSize = 8;

  std::uint32_t record_length = 0;  // of the whole logical record, repeated in every chunk
  std::uint16_t chunk_length = 0;
  ChunkType type = ChunkType::end_of_block;

  void store(ByteSpan block, std::size_t offset) const;
  // nullopt for a type that does not exist. The descriptor must lie inside `block`.
  static std::optional<ChunkHeader> load(ConstByteSpan block, std::size_t offset);

  bool operator==(const ChunkHeader&) const = default;
};

}  // namespace mpool

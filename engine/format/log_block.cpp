#include "engine/format/log_block.h"

#include <cstring>

namespace mpool {
namespace {

constexpr std::size_t kBlockMagicAt = 2;
constexpr std::size_t kPreviousAt = 24;
constexpr std::size_t kCurrentAt = 28;
constexpr std::size_t kBlockGenerationAt = 32;

}  // namespace

void LogBlockHeader::store(ByteSpan block) const {
  std::memset(block.first(kSize).data(), 0, kSize);
  store_le<std::uint16_t>(block, 0, kVersion);
  magic.store(block, kBlockMagicAt);
  store_le<std::uint32_t>(block, kPreviousAt, previous_flush_set);
  store_le<std::uint32_t>(block, kCurrentAt, flush_set);
  store_le<std::uint64_t>(block, kBlockGenerationAt, generation);
}

std::optional<LogBlockHeader> LogBlockHeader::load(ConstByteSpan block) {
  if (load_le<std::uint16_t>(block, 0) != kVersion) return std::nullopt;
  return LogBlockHeader{.magic = Uuid::load(block, kBlockMagicAt),
                        .previous_flush_set = load_le<std::uint32_t>(block, kPreviousAt),
                        .flush_set = load_le<std::uint32_t>(block, kCurrentAt),
                        .generation = load_le<std::uint64_t>(block, kBlockGenerationAt)};
}

void ChunkHeader::store(ByteSpan block, std::size_t offset) const {
  store_le<std::uint32_t>(block, offset, record_length);
  store_le<std::uint16_t>(block, offset + 4, chunk_length);
  store_le<std::uint8_t>(block, offset + 6, static_cast<std::uint8_t>(type));
  store_le<std::uint8_t>(block, offset + 7, 0);
}

std::optional<ChunkHeader> ChunkHeader::load(ConstByteSpan block, std::size_t offset) {
  const auto type = load_le<std::uint8_t>(block, offset + 6);
  if (type > static_cast<std::uint8_t>(ChunkType::compaction_end)) return std::nullopt;
  return ChunkHeader{.record_length = load_le<std::uint32_t>(block, offset),
                     .chunk_length = load_le<std::uint16_t>(block, offset + 4),
                     .type = static_cast<ChunkType>(type)};
}

}  // namespace mpool

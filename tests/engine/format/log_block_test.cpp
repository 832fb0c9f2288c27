#include "engine/format/log_block.h"

#include <algorithm>
#include <array>

#include <gtest/gtest.h>

namespace mpool {
namespace {

constexpr std::byte kOld{0xee};

TEST(LogBlockHeader, LiesAsTheFormatSays) {
  std::array<std::byte, 512> block;
  block.fill(kOld);
  LogBlockHeader header;
  header.magic.bytes.fill(std::byte{0x11});
  header.previous_flush_set = 0x22222222;
  header.flush_set = 0x33333333;
  header.generation = 0x4444444444444444;
  header.store(block);
  EXPECT_EQ(load_le<std::uint16_t>(block, 0), 1u);
  EXPECT_EQ(block[2], std::byte{0x11});
  EXPECT_EQ(block[17], std::byte{0x11});
  EXPECT_TRUE(std::all_of(block.begin() + 18, block.begin() + 24,
                          [](std::byte byte) { return byte == std::byte{0}; }));
  EXPECT_EQ(block[24], std::byte{0x22});
  EXPECT_EQ(block[28], std::byte{0x33});
  EXPECT_EQ(block[32], std::byte{0x44});
  EXPECT_EQ(block[40], kOld);
  EXPECT_EQ(LogBlockHeader::load(block), header);
}

TEST(LogBlockHeader, OtherVersionsBelongToNoLog) {
  std::array<std::byte, 512> block{};
  EXPECT_EQ(LogBlockHeader::load(block), std::nullopt);
  LogBlockHeader().store(block);
  store_le<std::uint16_t>(block, 0, 2);
  EXPECT_EQ(LogBlockHeader::load(block), std::nullopt);
}

TEST(ChunkHeader, LiesAsTheFormatSays) {
  std::array<std::byte, 16> block;
  block.fill(kOld);
  const ChunkHeader chunk{
      .record_length = 0x01020304, .chunk_length = 0x0506, .type = ChunkType::data_last};
  chunk.store(block, 4);
  EXPECT_EQ(block[3], kOld);
  EXPECT_EQ(block[4], std::byte{4});
  EXPECT_EQ(block[8], std::byte{6});
  EXPECT_EQ(block[10], std::byte{4});
  EXPECT_EQ(block[11], std::byte{0});
  EXPECT_EQ(block[12], kOld);
  EXPECT_EQ(ChunkHeader::load(block, 4), chunk);
}

TEST(ChunkHeader, UnknownTypesAreRefused) {
  std::array<std::byte, 8> block{};
  EXPECT_EQ(ChunkHeader::load(block, 0)->type, ChunkType::end_of_block);
  store_le<std::uint8_t>(block, 6, 6);
  EXPECT_EQ(ChunkHeader::load(block, 0)->type, ChunkType::compaction_end);
  store_le<std::uint8_t>(block, 6, 7);
  EXPECT_EQ(ChunkHeader::load(block, 0), std::nullopt);
}

}  // namespace
}  // namespace mpool

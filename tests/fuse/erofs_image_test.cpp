// EROFS images, checked by rules; erofs_kernel_test.cpp has the kernel and erofs-utils read them.
#include "fuse/native/erofs_image.h"

#include <cerrno>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fuse/erofs_support.h"
#include "tests/support/error_of.h"

namespace mpoolfs {
namespace {

using test::build;
using test::Bytes;
using test::chunk_bits;
using test::chunks_fit;
using test::Content;
using test::kBlock;
using test::kGiB;
using test::kMiB;
using test::kTiB;
using test::random_content;
using test::random_devices;
using test::sizes_of;

TEST(ErofsImage, Superblock) {
  const ErofsImage image = build({{"a", {kBlock, {{0, kBlock, 1, 0}}}}}, {7 * kBlock, 20 * kTiB});
  const auto u32 = [&image](std::size_t at) {
    return mpool::load_le<std::uint32_t>(image.bytes, at);
  };
  ASSERT_EQ(image.bytes.size(), 3 * kBlock);  // superblock, inodes, directory
  EXPECT_EQ(u32(1024), 0xE0F5E1E2);
  EXPECT_EQ(u32(1024 + 8), 0);         // compatible features
  EXPECT_EQ(u32(1024 + 12), 12);       // block bits; root's nid 0
  EXPECT_EQ(u32(1024 + 16), 2);        // inodes
  EXPECT_EQ(u32(1024 + 36), 3);        // blocks
  EXPECT_EQ(u32(1024 + 40), 1);        // first block of inodes
  EXPECT_EQ(u32(1024 + 80), 0xC);      // incompatible features
  EXPECT_EQ(u32(1024 + 84), 2 << 16);  // devices
  EXPECT_EQ(u32(1024 + 88), 16);       // slot of the first
  EXPECT_EQ(u32(2048 + 64), 7);
  EXPECT_EQ(u32(2176 + 64), 0xFFFFFFFF);  // the maximum value of the field
}

TEST(ErofsImage, InodeAndChunks) {
  // Two zones of 1 MiB, a hole, a part of a block.
  const Content content{3 * kMiB + 5,
                        {{0, kMiB, 0, kMiB}, {kMiB, kMiB, 1, 0}, {3 * kMiB, 5, 0, kBlock}}};
  const ErofsImage image = build({{"a", content}}, {2 * kMiB, kMiB});
  ASSERT_EQ(image.places.size(), 1);
  EXPECT_EQ(image.places[0].nid, 2);
  EXPECT_EQ(image.places[0].chunk_bits, 20);
  const mpool::ConstByteSpan inode = mpool::ConstByteSpan(image.bytes).subspan(kBlock + 64);
  EXPECT_EQ(mpool::load_le<std::uint16_t>(inode, 0), 9);
  EXPECT_EQ(mpool::load_le<std::uint16_t>(inode, 4), S_IFREG | 0444);
  EXPECT_EQ(mpool::load_le<std::uint64_t>(inode, 8), content.size);
  EXPECT_EQ(mpool::load_le<std::uint32_t>(inode, 16), 0x20 | 8);
  EXPECT_EQ(mpool::load_le<std::uint32_t>(inode, 44), 1);
  // Device + 1, block.
  const std::vector<std::pair<std::uint16_t, std::uint32_t>> expected{
      {1, 256}, {2, 0}, {0, 0xFFFFFFFF}, {1, 1}};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(mpool::load_le<std::uint16_t>(inode, 64 + 8 * i), 0);
    EXPECT_EQ(mpool::load_le<std::uint16_t>(inode, 66 + 8 * i), expected[i].first) << i;
    EXPECT_EQ(mpool::load_le<std::uint32_t>(inode, 68 + 8 * i), expected[i].second) << i;
  }
}

TEST(ErofsImage, ChunkSizes) {
  const std::vector<std::uint64_t> sizes{16 * kTiB, 64 * kMiB};
  // One run: one chunk, up to the limit.
  EXPECT_EQ(chunk_bits({1, {{0, 1, 0, 0}}}, sizes), 12);
  EXPECT_EQ(chunk_bits({kBlock, {{0, kBlock, 0, 0}}}, sizes), 12);
  EXPECT_EQ(chunk_bits({kBlock + 1, {{0, kBlock + 1, 0, 0}}}, sizes), 13);
  EXPECT_EQ(chunk_bits({5 * kGiB, {{0, 5 * kGiB, 0, kBlock}}}, sizes), 30);
  // Adjacent pieces are merged, wherever they are cut; pieces behind the size, or missing ones,
  // make no difference.
  EXPECT_EQ(chunk_bits({kMiB, {{0, 5, 0, 0}, {5, kMiB - 5, 0, 5}}}, sizes), 20);
  EXPECT_EQ(chunk_bits({kMiB, {{0, 9 * kMiB, 0, 0}, {9 * kMiB, 5, 1, 7}}}, sizes), 20);
  EXPECT_EQ(chunk_bits({kMiB - 5, {{0, kMiB, 0, 0}}}, sizes), 20);
  // Zones here and there.
  EXPECT_EQ(chunk_bits({3 * kMiB, {{0, kMiB, 0, 0}, {kMiB, 2 * kMiB, 1, 0}}}, sizes), 20);
  EXPECT_EQ(chunk_bits({3 * kMiB, {{0, 2 * kMiB, 0, 0}, {2 * kMiB, kMiB, 0, 9 * kMiB}}}, sizes),
            21);
  EXPECT_EQ(chunk_bits({3 * kMiB, {{0, kBlock, 0, 0}, {kMiB, 2 * kMiB, 0, 0}}}, sizes), 12);
  EXPECT_EQ(chunk_bits({3 * kMiB, {{2 * kMiB, kMiB, 0, 0}}}, sizes), 21);
}

TEST(ErofsImage, FilesThatCannotBeShown) {
  const std::vector<std::uint64_t> sizes{20 * kTiB, kMiB + 5};
  EXPECT_EQ(chunk_bits({0, {}}, sizes), 0);
  EXPECT_EQ(chunk_bits({kMiB, {}}, sizes), 0);
  EXPECT_EQ(chunk_bits({kMiB, {{kMiB, kMiB, 0, 0}}}, sizes), 0);
  // Not on blocks: on the device, in the file, its end.
  EXPECT_EQ(chunk_bits({kMiB, {{0, kMiB, 0, 512}}}, sizes), 0);
  EXPECT_EQ(chunk_bits({kMiB, {{512, kMiB - 512, 0, kBlock}}}, sizes), 0);
  EXPECT_EQ(chunk_bits({kMiB, {{0, kMiB - 512, 0, kBlock}}}, sizes), 0);
  EXPECT_EQ(chunk_bits({kMiB, {{0, 512, 0, 0}, {512, kMiB - 512, 0, kBlock}}}, sizes), 0);
  // Beyond the device and the block numbers; the last block must exist as a whole.
  EXPECT_EQ(chunk_bits({kMiB, {{0, kMiB, 1, 0}}}, sizes), 20);
  EXPECT_EQ(chunk_bits({kMiB, {{0, kMiB, 1, kBlock}}}, sizes), 0);
  EXPECT_EQ(chunk_bits({5, {{0, 5, 1, kMiB}}}, sizes), 0);
  EXPECT_EQ(chunk_bits({5, {{0, 5, 1, 2 * kMiB}}}, sizes), 0);
  EXPECT_EQ(chunk_bits({kBlock, {{0, kBlock, 0, 16 * kTiB - 2 * kBlock}}}, sizes), 12);
  EXPECT_EQ(chunk_bits({kBlock, {{0, kBlock, 0, 16 * kTiB - kBlock}}}, sizes), 0);
  // The kernel would continue on the first device; a hole between or the order makes no difference.
  const std::vector<std::uint64_t> two{2 * kMiB, 2 * kMiB};
  EXPECT_EQ(chunk_bits({2 * kMiB, {{0, kMiB, 0, 0}, {kMiB, kMiB, 1, kMiB}}}, two), 0);
  EXPECT_EQ(chunk_bits({2 * kMiB, {{0, kMiB, 1, 0}, {kMiB, kMiB, 0, kMiB}}}, two), 0);
  EXPECT_EQ(chunk_bits({3 * kMiB, {{0, kMiB, 0, 0}, {2 * kMiB, kMiB, 1, kMiB}}}, two), 0);
  EXPECT_EQ(chunk_bits({2 * kMiB, {{0, kMiB, 0, 0}, {kMiB, kMiB, 1, 0}}}, two), 20);
  EXPECT_EQ(chunk_bits({3 * kMiB, {{0, kMiB, 0, 0}, {2 * kMiB, kMiB, 0, kMiB}}}, two), 20);
  // More than 2^20 chunks.
  EXPECT_EQ(chunk_bits({4 * kGiB, {{kBlock, 4 * kGiB - kBlock, 0, 0}}}, sizes), 12);
  EXPECT_EQ(chunk_bits({4 * kGiB + 1, {{kBlock, 4 * kGiB, 0, 0}}}, sizes), 0);
  EXPECT_EQ(chunk_bits({~std::uint64_t{0}, {{0, kBlock, 0, 0}}}, sizes), 0);
}

TEST(ErofsImage, RulesOfTheInput) {
  const Content good{kBlock, {{0, kBlock, 0, 0}}};
  const auto error = [](const std::vector<ErofsFile>& files,
                        const std::vector<std::uint64_t>& sizes) {
    return mpool::test::error_of([&] { build_erofs_image(files, sizes); });
  };
  const auto error_of_name = [&](std::string_view name) {
    return error({{name, good.size, good.pieces}}, {kMiB});
  };
  EXPECT_EQ(error_of_name(std::string(64, '~')), 0);
  for (const std::string& name :
       {std::string(), std::string(65, 'a'), std::string("."), std::string("a/b"),
        std::string("a\0", 2), std::string("\xC3\xA4")})
    EXPECT_EQ(error_of_name(name), EINVAL) << name;
  EXPECT_EQ(error({{"b", good.size, good.pieces}, {"a", good.size, good.pieces}}, {kMiB}), EINVAL);
  EXPECT_EQ(error({{"a", good.size, good.pieces}, {"a", good.size, good.pieces}}, {kMiB}), EINVAL);
  EXPECT_EQ(error({}, {}), EINVAL);
  EXPECT_EQ(error({}, {kMiB, kMiB, kMiB}), EINVAL);
  const auto error_of_pieces = [&](const std::vector<ErofsPiece>& pieces) {
    return error({{"a", kMiB, pieces}}, {kMiB});
  };
  constexpr std::uint64_t kFar = ~std::uint64_t{0} - kBlock + 1;
  EXPECT_EQ(error_of_pieces({{0, kBlock, 1, 0}}), EINVAL);
  EXPECT_EQ(error_of_pieces({{0, 0, 0, 0}}), EINVAL);
  EXPECT_EQ(error_of_pieces({{0, 2 * kBlock, 0, 0}, {kBlock, kBlock, 0, 0}}), EINVAL);
  EXPECT_EQ(error_of_pieces({{kBlock, kBlock, 0, 0}, {0, kBlock, 0, 0}}), EINVAL);
  EXPECT_EQ(error_of_pieces({{0, 2 * kBlock, 0, kFar}}), EINVAL);
  EXPECT_EQ(error_of_pieces({{kBlock, kFar, 0, 0}}), EINVAL);
}

TEST(ErofsImage, RandomChunkSizesAreTheGreatest) {
  const std::vector<Bytes> devices = random_devices({kMiB, 2 * kMiB});
  std::mt19937_64 random(7);
  for (int i = 0; i < 500; ++i) {
    const Content content = random_content(random, devices);
    const unsigned bits = chunk_bits(content, sizes_of(devices));
    ASSERT_GE(bits, 12) << i;
    ASSERT_TRUE(chunks_fit(content, bits)) << i;
    const bool one_chunk = content.size <= std::uint64_t{1} << bits;
    ASSERT_TRUE(one_chunk || !chunks_fit(content, bits + 1)) << i << ": 2^" << bits;
  }
}

}  // namespace
}  // namespace mpoolfs

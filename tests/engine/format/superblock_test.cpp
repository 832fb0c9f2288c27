#include "engine/format/superblock.h"

#include <array>

#include <gtest/gtest.h>

#include "engine/base/crc32c.h"

namespace mpool {
namespace {

using Kind = SuperblockFault::Kind;
using Block = std::array<std::byte, kSuperblockSize>;

Uuid uuid_of_bytes(unsigned char value) {
  Uuid uuid;
  uuid.bytes.fill(static_cast<std::byte>(value));
  return uuid;
}

DeviceParams device_of(MediaClass media_class) {
  return {.media_class = media_class,
          .type = DeviceType::block,
          .sector_shift = 9,
          .uuid = uuid_of_bytes(0x0d),
          .zone_pages = 256,
          .zone_count = 96,
          .device_size = 96ull << 20,
          .features = 3};
}

Superblock capacity_superblock() {
  Superblock superblock{.pool_name = "tank",
                        .pool_uuid = uuid_of_bytes(0xaa),
                        .generation = 1,
                        .device = device_of(MediaClass::capacity),
                        .mdc0 = Mdc0Location{}};
  superblock.mdc0->halves[0] = {1, uuid_of_bytes(0x51), uuid_of_bytes(0x0d), {1, 1}};
  superblock.mdc0->halves[1] = {2, uuid_of_bytes(0x52), uuid_of_bytes(0x0d), {1, 2}};
  superblock.mdc0->device = superblock.device;
  return superblock;
}

Block encoded(const Superblock& superblock) {
  Block block;
  block.fill(std::byte{0xa5});
  encode_superblock(superblock, block);
  return block;
}

Kind fault_of(const Block& block) {
  const auto decoded = decode_superblock(block);
  EXPECT_FALSE(decoded.has_value());
  return decoded ? Kind::damaged : decoded.error().kind;
}

TEST(Superblock, ComesBackAsItWas) {
  const auto decoded = decode_superblock(encoded(capacity_superblock()));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().detail;
  EXPECT_EQ(decoded->superblock, capacity_superblock());
  EXPECT_EQ(decoded->mdc0_checksum, Mdc0Checksum::good);
}

TEST(Superblock, OfAStagingDeviceHasNoMdc0Part) {
  Superblock superblock = capacity_superblock();
  superblock.device.media_class = MediaClass::staging;
  superblock.mdc0.reset();
  const Block block = encoded(superblock);
  for (std::size_t i = 124; i < block.size(); ++i)
    ASSERT_EQ(block[i], std::byte{0}) << i;
  const auto decoded = decode_superblock(block);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->superblock, superblock);
}

TEST(Superblock, FieldsLieAsTheFormatSays) {
  const Block block = encoded(capacity_superblock());
  EXPECT_EQ(load_le<std::uint64_t>(block, 0), 0x7665446c6f6f706dull);
  EXPECT_EQ(block[8], std::byte{'t'});
  EXPECT_EQ(block[12], std::byte{0});
  EXPECT_EQ(block[40], std::byte{0xaa});
  EXPECT_EQ(load_le<std::uint16_t>(block, 56), 1u);
  EXPECT_EQ(load_le<std::uint32_t>(block, 58), 1u);
  EXPECT_EQ(load_le<std::uint32_t>(block, 62), crc32c(ConstByteSpan(block).first(62)));
  EXPECT_EQ(load_le<std::uint32_t>(block, 120), crc32c(ConstByteSpan(block).subspan(72, 48)));
  EXPECT_EQ(load_le<std::uint32_t>(block, 124), crc32c(ConstByteSpan(block).subspan(128, 160)));
  EXPECT_EQ(load_le<std::uint64_t>(block, 128), 1u);
  EXPECT_EQ(block[136], std::byte{0x51});
  EXPECT_EQ(block[152], std::byte{0x0d});
  EXPECT_EQ(load_le<std::uint32_t>(block, 168), 1u);
  EXPECT_EQ(load_le<std::uint64_t>(block, 184), 2u);
  EXPECT_EQ(block[192], std::byte{0x52});
  EXPECT_EQ(load_le<std::uint64_t>(block, 228), 2u);
  EXPECT_EQ(block[240], std::byte{1});
  for (std::size_t i = 288; i < block.size(); ++i)
    ASSERT_EQ(block[i], std::byte{0}) << i;
}

TEST(Superblock, EveryProtectedByteIsProtected) {
  const Block good = encoded(capacity_superblock());
  for (std::size_t i = 0; i < 124; ++i) {
    if (i >= 66 && i < 72) continue;  // zeros under no checksum
    Block block = good;
    block[i] ^= std::byte{0x40};
    EXPECT_EQ(fault_of(block), i < 8 ? Kind::no_magic : Kind::damaged) << "byte " << i;
  }
}

TEST(Superblock, ABadExtensionChecksumIsReportedNotJudged) {
  Block block = encoded(capacity_superblock());
  block[136] ^= std::byte{1};
  auto decoded = decode_superblock(block);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->mdc0_checksum, Mdc0Checksum::bad);
  store_le<std::uint32_t>(block, 124, 0);
  decoded = decode_superblock(block);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->mdc0_checksum, Mdc0Checksum::absent);
}

TEST(Superblock, ALaterVersionIsNamed) {
  Block block = encoded(capacity_superblock());
  store_le<std::uint16_t>(block, 56, 2);
  store_le<std::uint32_t>(block, 62, crc32c(ConstByteSpan(block).first(62)));
  EXPECT_EQ(fault_of(block), Kind::version);
  EXPECT_EQ(decode_superblock(block).error().detail,
            "superblock version is 2, this program knows version 1");
}

TEST(Superblock, LeftoversAfterTheNameAreIgnored) {
  Block block = encoded(capacity_superblock());
  block[13] = std::byte{'x'};
  store_le<std::uint32_t>(block, 62, crc32c(ConstByteSpan(block).first(62)));
  EXPECT_EQ(decode_superblock(block)->superblock.pool_name, "tank");
}

TEST(Superblock, LongestName) {
  Superblock superblock = capacity_superblock();
  superblock.pool_name = std::string(kMaxPoolNameLength, 'n');
  EXPECT_EQ(decode_superblock(encoded(superblock))->superblock.pool_name, superblock.pool_name);
}

TEST(Superblock, ImpossibleParametersAreRefused) {
  const auto refused = [](auto change) {
    Superblock superblock = capacity_superblock();
    change(superblock.device);
    EXPECT_EQ(fault_of(encoded(superblock)), Kind::damaged);
  };
  refused([](DeviceParams& device) { device.media_class = static_cast<MediaClass>(2); });
  refused([](DeviceParams& device) { device.type = static_cast<DeviceType>(0); });
  refused([](DeviceParams& device) { device.type = static_cast<DeviceType>(7); });
  refused([](DeviceParams& device) { device.sector_shift = 10; });
  refused([](DeviceParams& device) { device.zone_pages = 0; });
  refused([](DeviceParams& device) { device.zone_count = 0; });
  refused([](DeviceParams& device) { device.zone_count = 97; });
}

TEST(Mdc0Location, SamePlaceIgnoresGenerations) {
  Mdc0Location first = *capacity_superblock().mdc0;
  Mdc0Location second = first;
  second.halves[0].generation = 9;
  EXPECT_TRUE(first.same_place(second));
  second.halves[1].uuid = uuid_of_bytes(0x53);
  EXPECT_FALSE(first.same_place(second));
}

TEST(DeviceParams, SuperblocksTakeWholeZones) {
  DeviceParams device = device_of(MediaClass::capacity);
  EXPECT_EQ(device.superblock_zones(), 1u);
  device.zone_pages = 1;
  EXPECT_EQ(device.superblock_zones(), 4u);
  device.zone_pages = 3;
  EXPECT_EQ(device.superblock_zones(), 2u);
}

}  // namespace
}  // namespace mpool

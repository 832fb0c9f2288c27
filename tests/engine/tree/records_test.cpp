#include "engine/tree/records.h"

#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "engine/base/crc32c.h"

namespace mpool::names {
namespace {

const InodeAttributes kAttributes{0644, 1000, 1001, -5, 1'700'000'000'123'456'789, 7};
const Content kContent{FileKind::write_once,
                       1'000'000,
                       {{0, ObjectId{0x100104}, 0, 65536}, {65536, ObjectId{0x101105}, 4096, 100}}};

std::vector<Record> one_of_each() {
  return {{1, OwnerRecord{}},
          {2, BatchRecord{7, 1000}},
          {3, RollbackRecord{5}},
          {4, CreateRecord{12, 1, "name", kAttributes, MediaClass::staging, Choice::mlog, "",
                           kContent}},
          {5, ContentRecord{12, true, kContent}},
          {6, AttributesRecord{12, kAttributes, MediaClass::staging}},
          {7, LinkRecord{12, 1, "other"}},
          {8, UnlinkRecord{1, std::string(255, 'n')}},
          {9, RenameRecord{1, "a", 2, "b", true}},
          {10, XattrRecord{12, "user.x", true, std::string(65536, 'v')}},
          {11, OrphanRecord{{ObjectId{0x100104}, ObjectId{0x101105}}}},
          {12, MdcEndsRecord{{{1, 2, 3}, {4, 5, 6}}, 100}},
          {13, LogSizesRecord{{12, 13}}},
          {14, PackRecord{ObjectId{0x100204}}},
          {15, MoveRecord{12, {{0, ObjectId{0x100204}, 40, 10}}}}};
}

TEST(NamespaceRecords, ComeBackAsTheyWere) {
  const auto records = one_of_each();
  ASSERT_EQ(records.size(), std::variant_size_v<Body>);
  for (const Record& record : records) {
    const auto decoded = decode(encode(record));
    ASSERT_TRUE(decoded.has_value()) << decoded.error().detail;
    EXPECT_EQ(*decoded, record) << "type " << record.body.index() + 1;
  }
}

TEST(NamespaceRecords, SpecialFilesHaveAVersionOfTheirOwn) {
  for (const FileKind kind :
       {FileKind::fifo, FileKind::socket, FileKind::character_device, FileKind::block_device}) {
    const bool device = kind >= FileKind::character_device;
    const Record record{4, CreateRecord{.inode = 12,
                                        .parent = 1,
                                        .name = "name",
                                        .attributes = kAttributes,
                                        .media_class = MediaClass::capacity,
                                        .choice = Choice::none,
                                        .target = {},
                                        .content = {kind, device ? 8ull << 32 | 17 : 0, {}}}};
    auto bytes = encode(record);
    EXPECT_EQ(bytes[0], std::byte{2});
    const auto decoded = decode(bytes);
    ASSERT_TRUE(decoded.has_value()) << decoded.error().detail;
    EXPECT_EQ(*decoded, record);
    bytes[0] = std::byte{1};
    store_le<std::uint32_t>(bytes, 4, 0);
    store_le<std::uint32_t>(bytes, 4, crc32c(bytes));
    EXPECT_FALSE(decode(bytes).has_value()) << "a version that does not know such files";
  }
  EXPECT_EQ(encode({1, OwnerRecord{}})[0], std::byte{1});
}

TEST(NamespaceRecords, HeaderLiesAsDocumented) {
  const auto bytes = encode({0x0102030405060708, UnlinkRecord{1, "ab"}});
  EXPECT_EQ(bytes[0], std::byte{1});
  EXPECT_EQ(bytes[1], std::byte{8});
  EXPECT_EQ(bytes[8], std::byte{8});
  EXPECT_EQ(bytes[15], std::byte{1});
  EXPECT_EQ(bytes.size(), 16u + 8 + 2 + 2);
  EXPECT_EQ(bytes[16], std::byte{1});
  EXPECT_EQ(bytes[24], std::byte{2});
  EXPECT_EQ(bytes[26], std::byte{'a'});
}

TEST(NamespaceRecords, EveryByteIsProtected) {
  for (const Record& record : one_of_each()) {
    auto bytes = encode(record);
    const std::size_t step = bytes.size() > 1000 ? 997 : 1;
    for (std::size_t i = 0; i < bytes.size(); i += step) {
      bytes[i] ^= std::byte{0x10};
      const auto decoded = decode(bytes);
      EXPECT_FALSE(decoded.has_value()) << "type " << record.body.index() + 1 << " byte " << i;
      bytes[i] ^= std::byte{0x10};
    }
  }
}

TEST(NamespaceRecords, TruncationIsRefused) {
  for (const Record& record : one_of_each()) {
    const auto bytes = encode(record);
    for (std::size_t size = 0; size < std::min<std::size_t>(bytes.size(), 300); ++size) {
      EXPECT_FALSE(decode(ConstByteSpan(bytes).first(size)).has_value());
    }
  }
}

void seal(std::vector<std::byte>& bytes) {
  store_le<std::uint32_t>(bytes, 4, 0);
  store_le<std::uint32_t>(bytes, 4, crc32c(bytes));
}

TEST(NamespaceRecords, LaterVersionsAreTold) {
  auto bytes = encode({1, UnlinkRecord{1, "a"}});
  bytes[0] = std::byte{2};
  seal(bytes);
  EXPECT_TRUE(decode(bytes).error().later_version);
  bytes = encode({1, UnlinkRecord{1, "a"}});
  bytes[1] = std::byte{std::variant_size_v<Body> + 1};
  seal(bytes);
  EXPECT_TRUE(decode(bytes).error().later_version);
}

// Complete records with invalid bodies: a right checksum does not excuse them.
TEST(NamespaceRecords, SealedGarbageNeverHurts) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const auto records = one_of_each();
  for (int round = 0; round < 20000; ++round) {
    auto bytes = encode(records[random() % (records.size() - 2)]);
    for (unsigned changes = 1 + random() % 4; changes > 0; --changes) {
      bytes[16 + random() % (bytes.size() - 16)] = static_cast<std::byte>(random());
    }
    if (random() % 4 == 0) bytes.resize(16 + random() % (bytes.size() - 15));
    seal(bytes);
    const auto decoded = decode(bytes);
    if (decoded) {
      EXPECT_EQ(*decode(encode(*decoded)), *decoded);
    }
  }
}

TEST(NamespaceRecords, OwnersAreKnownFromOthers) {
  EXPECT_TRUE(is_owner_record(encode({1, OwnerRecord{}})));
  EXPECT_FALSE(is_owner_record(encode({1, BatchRecord{1, 2}})));
  EXPECT_FALSE(is_owner_record({}));
  EXPECT_FALSE(is_owner_record(std::vector<std::byte>(100, std::byte{1})));
}

}  // namespace
}  // namespace mpool::names

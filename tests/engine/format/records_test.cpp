#include "engine/format/records.h"

#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace mpool {
namespace {

Uuid uuid_of(unsigned char first) {
  Uuid uuid;
  for (std::size_t i = 0; i < Uuid::kSize; ++i) {
    uuid.bytes[i] = static_cast<std::byte>(first + i);
  }
  return uuid;
}

DeviceParams some_device() {
  return {.media_class = MediaClass::staging,
          .type = DeviceType::block,
          .sector_shift = 9,
          .uuid = uuid_of(0x40),
          .zone_pages = 256,
          .zone_count = 96,
          .device_size = 96ull << 20,
          .features = 3};
}

ObjectRecord some_mlog() {
  return {.update = false,
          .media_class = MediaClass::staging,
          .layout = {.zone_count = 3, .first_zone = 0x1234},
          .id = ObjectId::make(260, ObjectType::mlog, 5),
          .generation = 7,
          .written_length = 0,
          .uuid = uuid_of(0x10)};
}

std::vector<MetadataRecord> one_of_each() {
  ObjectRecord mblock = some_mlog();
  mblock.id = ObjectId::make(256, ObjectType::mblock, 4);
  mblock.written_length = 618496;
  mblock.uuid = {};
  ObjectRecord update = mblock;
  update.update = true;
  return {some_mlog(),
          mblock,
          update,
          DeleteRecord{mblock.id},
          CheckpointRecord{ObjectId{0x100104}},
          EraseRecord{some_mlog().id, 9},
          DeviceRecord{some_device()},
          SpareRecord{MediaClass::capacity, 100},
          VersionRecord{{1, 2, 3, 4}},
          ConfigRecord{.root_log_1 = root_log_id(0),
                       .root_log_2 = root_log_id(1),
                       .uid = 1000,
                       .gid = 1001,
                       .mode = 0750,
                       .mdc_capacity = 8 << 20,
                       .max_readahead_pages = 32,
                       .max_map_shift = 30,
                       .user_type = uuid_of(0x70),
                       .label = std::string(63, 'x')}};
}

TEST(MetadataRecords, ComeBackAsTheyWere) {
  for (const MetadataRecord& record : one_of_each()) {
    const EncodedRecord encoded = encode_record(record);
    const auto decoded = decode_record(encoded.span());
    ASSERT_TRUE(decoded.has_value()) << decoded.error();
    EXPECT_EQ(*decoded, record) << "alternative " << record.index();
  }
}

TEST(MetadataRecords, HaveTheLengthsOfTheFormat) {
  const std::vector<std::size_t> lengths = {56, 40, 40, 16, 16, 24, 56, 3, 10, 160};
  const auto records = one_of_each();
  ASSERT_EQ(records.size(), lengths.size());
  for (std::size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(encode_record(records[i]).size, lengths[i]) << "record " << i;
  }
}

TEST(MetadataRecords, FieldsLieAsTheFormatSays) {
  const EncodedRecord object = encode_record(some_mlog());
  const ConstByteSpan bytes = object.span();
  EXPECT_EQ(bytes[0], std::byte{1});
  EXPECT_EQ(bytes[1], std::byte{0});
  EXPECT_EQ(load_le<std::uint32_t>(bytes, 4), 3u);
  EXPECT_EQ(load_le<std::uint64_t>(bytes, 8), 0x1234u);
  EXPECT_EQ(load_le<std::uint64_t>(bytes, 16), 0x104205u);
  EXPECT_EQ(load_le<std::uint64_t>(bytes, 24), 7u);
  EXPECT_EQ(bytes[40], std::byte{0x10});
  const EncodedRecord config = encode_record(one_of_each().back());
  EXPECT_EQ(config.bytes[0], std::byte{9});
  EXPECT_EQ(load_le<std::uint64_t>(config.span(), 8), 0x201u);
  EXPECT_EQ(load_le<std::uint64_t>(config.span(), 40), 8u << 20);
  EXPECT_EQ(config.bytes[80], std::byte{0x70});
  EXPECT_EQ(config.bytes[96], std::byte{'x'});
  EXPECT_EQ(config.bytes[159], std::byte{0});
}

// "Fields called zero are written as zero but may hold anything."
TEST(MetadataRecords, IgnoreWhatIsCalledZero) {
  EncodedRecord object = encode_record(some_mlog());
  object.bytes[2] = object.bytes[3] = std::byte{0xa5};
  EXPECT_EQ(*decode_record(object.span()), MetadataRecord(some_mlog()));
  EncodedRecord erase = encode_record(EraseRecord{some_mlog().id, 9});
  for (std::size_t i = 1; i < 8; ++i)
    erase.bytes[i] = std::byte{0xa5};
  EXPECT_EQ(*decode_record(erase.span()), MetadataRecord(EraseRecord{some_mlog().id, 9}));
}

TEST(MetadataRecords, EveryOtherLengthIsRefused) {
  for (const MetadataRecord& record : one_of_each()) {
    const EncodedRecord encoded = encode_record(record);
    std::vector<std::byte> bytes(encoded.span().begin(), encoded.span().end());
    bytes.push_back({});
    EXPECT_FALSE(decode_record(bytes).has_value());
    for (std::size_t size = 0; size < encoded.size; ++size) {
      EXPECT_FALSE(decode_record(encoded.span().first(size)).has_value())
          << "alternative " << record.index() << " cut to " << size;
    }
  }
}

TEST(MetadataRecords, ValuesOutOfRangeAreRefused) {
  EncodedRecord object = encode_record(some_mlog());
  object.bytes[1] = std::byte{2};
  EXPECT_EQ(decode_record(object.span()).error(),
            "OCREATE record for 0x104205 with unknown media class 2");
  EncodedRecord spare = encode_record(SpareRecord{MediaClass::capacity, 5});
  spare.bytes[2] = std::byte{101};
  EXPECT_FALSE(decode_record(spare.span()).has_value());
  EncodedRecord unknown = encode_record(SpareRecord{MediaClass::capacity, 5});
  for (const unsigned type : {0u, 10u, 255u}) {
    unknown.bytes[0] = static_cast<std::byte>(type);
    EXPECT_FALSE(decode_record(unknown.span()).has_value()) << type;
  }
  DeviceParams device = some_device();
  device.zone_pages = 0;
  EXPECT_EQ(decode_record(encode_record(DeviceRecord{device}).span()).error(),
            "MCCONFIG record: zone size is zero");
}

TEST(MetadataRecords, RandomBytesNeverHurt) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> bytes(random() % (kMaxRecordSize + 8));
    for (std::byte& byte : bytes)
      byte = static_cast<std::byte>(random());
    if (!bytes.empty()) bytes[0] = static_cast<std::byte>(random() % 11);
    const auto decoded = decode_record(bytes);
    if (decoded) {
      const EncodedRecord again = encode_record(*decoded);
      EXPECT_EQ(*decode_record(again.span()), *decoded);
    }
  }
}

}  // namespace
}  // namespace mpool

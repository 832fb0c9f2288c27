// Packs: where records lie, and reading them there.
#include "engine/object/pack.h"

#include <algorithm>
#include <cerrno>
#include <random>

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/format/log_block.h"
#include "tests/engine/object/support.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kPackSize = 256u << 10;
constexpr ObjectId kPackId = ObjectId::make(5, ObjectType::mlog, 2);

std::vector<std::byte> content_of(std::uint64_t number, std::size_t length) {
  std::mt19937_64 random(number);
  std::vector<std::byte> content(length);
  for (std::byte& byte : content)
    byte = static_cast<std::byte>(random());
  return content;
}

// A log of a device in memory with sectors of that size.
struct PackTest : testing::TestWithParam<std::uint32_t> {
  PackTest()
      : media(std::make_shared<SimulatedMedia>(2 * kPackSize, GetParam())), device("d", media) {}

  MlogLocation location() {
    Uuid uuid;
    uuid.bytes.fill(std::byte{7});
    return {.device = &device,
            .offset = kPageSize,
            .capacity = kPackSize,
            .sector_size = GetParam(),
            .uuid = uuid,
            .generation = 3,
            .name = "test pack"};
  }
  std::unique_ptr<Pack> open() {
    return std::make_unique<Pack>(kPackId, MediaClass::capacity, location(), memory);
  }
  PackedRecord append(Pack& pack, std::uint64_t number, std::size_t length) {
    const std::uint64_t room = max_packed_size(GetParam(), length);
    EXPECT_TRUE(pack.enter(room));
    const std::uint64_t position = pack.append(content_of(number, length), room, 0);
    pack.leave(0);
    return {position, length};
  }
  void write(Pack& pack) {
    if (const auto written = pack.write(UINT64_MAX)) {
      device.flush();
      pack.flushed(*written);
    }
  }
  std::vector<std::byte> read(const PackedRecord& record, std::uint64_t offset,
                              std::size_t length) {
    std::vector<std::byte> into(length);
    read_packed(location(), record, offset, into);
    return into;
  }
  int read_errno(const PackedRecord& record) {
    try {
      read(record, 0, record.length);
    } catch (const Error& error) {
      return error.code();
    }
    return 0;
  }
  void flip(std::uint64_t offset) {
    AlignedBuffer page(kPageSize);
    const std::uint64_t at = round_down(kPageSize + offset, kPageSize);
    device.read(at, page.span());
    page.data()[kPageSize + offset - at] ^= std::byte{1};
    device.write(at, page.span());
    device.flush();
  }

  std::shared_ptr<SimulatedMedia> media;
  SimulatedDevice device;
  WriteMemory memory;
};

// Lengths around the borders of blocks: every rest of a block occurs as the place of a record.
TEST_P(PackTest, RecordsAreFoundWithoutThoseBeforeThem) {
  std::mt19937 random(GetParam());
  auto pack = open();
  std::vector<PackedRecord> records;
  for (std::uint64_t number = 0; number < 1000; ++number) {
    const std::size_t length = 1 + random() % (number % 7 == 0 ? 3 * GetParam() : 60);
    if (!pack->has_room(max_packed_size(GetParam(), length))) break;
    records.push_back(append(*pack, number, length));
    if (random() % 5 == 0) write(*pack);
    if (random() % 50 == 0) {
      write(*pack);
      pack = open();
    }
  }
  write(*pack);
  ASSERT_GT(records.size(), 100u);
  for (std::uint64_t number = 0; number < records.size(); ++number) {
    const PackedRecord& record = records[number];
    const auto expected = content_of(number, record.length);
    EXPECT_FALSE(pack->holds(record.position));
    ASSERT_EQ(read(record, 0, record.length), expected) << number;
    const std::uint64_t offset = random() % record.length;
    const std::size_t length = 1 + random() % (record.length - offset);
    const auto part = expected.begin() + static_cast<std::ptrdiff_t>(offset);
    ASSERT_TRUE(std::ranges::equal(read(record, offset, length), std::span(part, length)));
    const auto end = end_of_packed(GetParam(), kPackSize, record);
    ASSERT_TRUE(end);
    ASSERT_LE(*end, pack->used());
  }
}

TEST_P(PackTest, RoomThatWasTakenIsEnough) {
  std::mt19937 random(GetParam() + 1);
  const auto pack = open();
  std::vector<std::size_t> lengths;
  for (;;) {
    const std::size_t length = 1 + random() % 5000;
    if (!pack->enter(max_packed_size(GetParam(), length))) break;
    lengths.push_back(length);
  }
  ASSERT_GT(lengths.size(), 20u);
  std::ranges::shuffle(lengths, random);
  for (const std::size_t length : lengths)
    pack->append(content_of(1, length), max_packed_size(GetParam(), length), 0);
  EXPECT_LE(pack->used(), kPackSize);
  write(*pack);
}

TEST_P(PackTest, ContentIsReadFromMemoryUntilItIsWritten) {
  const auto pack = open();
  const PackedRecord record = append(*pack, 1, 10'000);
  EXPECT_TRUE(pack->holds(record.position));
  EXPECT_EQ(read_errno(record), EIO);
  std::vector<std::byte> into(100);
  pack->read(record, 50, into);
  const auto expected = content_of(1, 10'000);
  EXPECT_TRUE(std::ranges::equal(into, std::span(expected).subspan(50, 100)));
  write(*pack);
  EXPECT_FALSE(pack->holds(record.position));
  pack->read(record, 0, into);
  EXPECT_TRUE(std::ranges::equal(into, std::span(expected).first(100)));
}

// Bits of headers: never other content, always EIO. Content itself has no checksum.
TEST_P(PackTest, DamagedHeadersAreNoticed) {
  const auto pack = open();
  append(*pack, 1, 100);
  const PackedRecord record = append(*pack, 2, 3 * GetParam());
  append(*pack, 3, 100);
  write(*pack);
  const std::uint64_t next = round_up(record.position, GetParam());
  const std::uint64_t places[] = {record.position,      // length
                                  record.position + 4,  // length of the chunk
                                  record.position + 6,  // type
                                  next,                 // version
                                  next + 2,             // UUID
                                  next + 24,            // previous flush set
                                  next + 32,            // generation
                                  next + 40,
                                  next + 44,
                                  next + 46};
  ASSERT_EQ(read_errno(record), 0);
  for (const std::uint64_t place : places) {
    flip(place);
    EXPECT_EQ(read_errno(record), EIO) << place - next;
    flip(place);
    EXPECT_EQ(read_errno(record), 0);
  }
}

TEST_P(PackTest, ImpossiblePositions) {
  const std::uint32_t sector = GetParam();
  const auto possible = [&](std::uint64_t position, std::uint64_t length) {
    return end_of_packed(sector, kPackSize, {position, length}).has_value();
  };
  EXPECT_TRUE(possible(LogBlockHeader::kSize, 1));
  EXPECT_FALSE(possible(LogBlockHeader::kSize, 0));
  EXPECT_FALSE(possible(LogBlockHeader::kSize - 1, 1));
  EXPECT_TRUE(possible(sector - ChunkHeader::kSize, 1));
  EXPECT_FALSE(possible(sector - ChunkHeader::kSize + 1, 1));
  EXPECT_FALSE(possible(kPackSize - ChunkHeader::kSize, 1));
  EXPECT_FALSE(possible(kPackSize + LogBlockHeader::kSize, 1));
  EXPECT_TRUE(possible(LogBlockHeader::kSize, packed_capacity(sector, kPackSize)));
  EXPECT_FALSE(possible(LogBlockHeader::kSize, packed_capacity(sector, kPackSize) + 1));
  EXPECT_FALSE(possible(LogBlockHeader::kSize, UINT64_MAX));
  EXPECT_FALSE(possible(UINT64_MAX, 1));
  EXPECT_EQ(read_errno({LogBlockHeader::kSize - 1, 1}), EIO);
}

TEST_P(PackTest, AFailedWriteEndsIt) {
  const auto pack = open();
  append(*pack, 1, 100);
  device.before_write([](std::uint64_t, ConstByteSpan) { raise(EIO, "d", "made to fail"); });
  EXPECT_THROW(pack->write(UINT64_MAX), Error);
  EXPECT_FALSE(pack->enter(1));
  EXPECT_THROW(pack->append(content_of(1, 1), 0, 0), Error);
}

// Content behind it does not concern a record that is written.
TEST_P(PackTest, WithoutRoomOnTheDevice) {
  const auto pack = open();
  const PackedRecord first = append(*pack, 1, 100);
  write(*pack);
  const PackedRecord second = append(*pack, 2, 100);
  device.before_write([](std::uint64_t, ConstByteSpan) { raise(ENOSPC, "d", "made to fail"); });
  EXPECT_THROW(pack->write(second.position), Error);
  EXPECT_EQ(pack->write(first.position), std::nullopt);
  EXPECT_TRUE(pack->holds(second.position));
  device.before_write(nullptr);
  EXPECT_NE(pack->write(second.position), std::nullopt);
  EXPECT_EQ(read(second, 0, 100), content_of(2, 100));
}

TEST_P(PackTest, OnlyAnUnusedPackIsClosed) {
  const auto pack = open();
  const std::uint64_t room = max_packed_size(GetParam(), 10);
  ASSERT_TRUE(pack->enter(room));
  EXPECT_FALSE(pack->close_if_unused());
  pack->append(content_of(1, 10), room, 0);
  pack->leave(0);
  EXPECT_TRUE(pack->close_if_unused());
  EXPECT_FALSE(pack->enter(1));
  EXPECT_FALSE(pack->has_room(1));
  write(*pack);
}

INSTANTIATE_TEST_SUITE_P(SectorSizes, PackTest, testing::Values(512u, 4096u));

}  // namespace
}  // namespace mpool::test

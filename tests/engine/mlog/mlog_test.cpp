// Appending, reading and re-opening a log on a device without failures.
#include "engine/mlog/mlog.h"

#include <gtest/gtest.h>

#include "engine/format/log_block.h"
#include "tests/engine/mlog/log_support.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kCapacity = 8u << 20;
constexpr std::size_t kOverhead = LogBlockHeader::kSize + ChunkHeader::kSize;

class MlogTest : public testing::TestWithParam<std::uint32_t> {
 protected:
  std::uint32_t sector() const { return GetParam(); }
  MlogLocation location(std::uint64_t capacity = kCapacity) {
    return location_on(device_, sector(), capacity);
  }

  FakeDevice device_{kLogOffset + kCapacity + kPageSize};
};

// Lengths around every boundary: nothing, one block, the 8 last bytes of a block, several blocks,
// the size of a chunk, a flush set.
std::vector<std::size_t> awkward_lengths(std::size_t sector) {
  const std::size_t full = sector - kOverhead;
  std::vector<std::size_t> lengths = {
      0, 1, 7, 8, 9, 65535, 65536, (1u << 20) - 1, 1u << 20, (1u << 20) + 1, (5u << 18) + 3};
  for (std::size_t base : {full, 2 * full, sector, 2 * sector, full / 2}) {
    for (std::size_t delta = 0; delta <= 17; ++delta) {
      lengths.push_back(base - delta);
      lengths.push_back(base + delta);
    }
  }
  return lengths;
}

TEST_P(MlogTest, RoundTripOfEveryAwkwardLength) {
  Records expected;
  for (std::size_t length : awkward_lengths(sector())) {
    expected.push_back(make_record(expected.size(), length));
  }
  const auto log = open_plain(location());
  std::uint64_t payload = 0;
  for (const Record& record : expected) {
    log->append(record);
    payload += record.size();
  }
  EXPECT_EQ(read_all(*log), expected) << "before the flush";
  log->sync();
  EXPECT_EQ(read_all(*log), expected) << "after the flush";
  const auto again = open_plain(location());
  EXPECT_EQ(read_all(*again), expected);
  EXPECT_EQ(again->record_count(), expected.size());
  EXPECT_EQ(again->payload_bytes(), payload);
  EXPECT_EQ(again->used(), log->used());
}

// Every amount of room at the end of a block with records of every small length and some larger
// ones.
TEST_P(MlogTest, EveryRoomLeftInABlock) {
  const std::size_t full = sector() - kOverhead;
  for (std::size_t left = 0; left <= 24; ++left) {
    for (std::size_t length : {0, 1, 8, 9, 16, 600, 5000}) {
      SCOPED_TRACE(fmt::format("{} bytes left, record of {}", left, length));
      FakeDevice device(kLogOffset + 16 * kPageSize);
      const MlogLocation where = location_on(device, sector(), 16 * kPageSize);
      const Records expected = {make_record(0, full - left), make_record(1, length),
                                make_record(2, 3)};
      const auto log = open_plain(where);
      for (const Record& record : expected)
        log->append(record);
      log->sync();
      EXPECT_EQ(read_all(*open_plain(where)), expected);
    }
  }
}

TEST_P(MlogTest, ExactlyEightBytesLeftTakeAnEmptyFirstChunk) {
  const auto log = open_plain(location());
  log->append(make_record(0, sector() - kOverhead - ChunkHeader::kSize));
  log->append(make_record(1, 5));
  log->sync();
  const Image image = device_.image();
  const ConstByteSpan blocks = ConstByteSpan(image).subspan(kLogOffset);
  EXPECT_EQ(ChunkHeader::load(blocks, sector() - ChunkHeader::kSize),
            (ChunkHeader{.record_length = 5, .chunk_length = 0, .type = ChunkType::data_first}));
  EXPECT_EQ(ChunkHeader::load(blocks, sector() + LogBlockHeader::kSize),
            (ChunkHeader{.record_length = 5, .chunk_length = 5, .type = ChunkType::data_last}));
}

TEST_P(MlogTest, RecordOfSeveralParts) {
  const auto log = open_plain(location());
  const Record whole = make_record(1, 3000);
  const ConstByteSpan bytes = whole;
  const std::vector<ConstByteSpan> parts = {bytes.first(1),     {}, bytes.subspan(1, 700), {},
                                            bytes.subspan(701), {}};
  log->append(parts);
  log->append(std::span<const ConstByteSpan>());
  EXPECT_EQ(read_all(*log), (Records{whole, {}}));
}

TEST_P(MlogTest, FullLogTakesNothingOfARecordThatDoesNotFit) {
  const auto log = open_plain(location(4 * kPageSize));
  Records expected;
  const auto fill = [&](std::size_t length) {
    while (log->fits(length)) {
      expected.push_back(make_record(expected.size(), length));
      log->append(expected.back());
    }
    const auto before = log->used();
    EXPECT_EQ(error_of([&] { log->append(make_record(0, length)); }), EFBIG);
    EXPECT_EQ(log->used(), before);
    EXPECT_EQ(log->record_count(), expected.size());
  };
  EXPECT_FALSE(log->fits(4 * kPageSize));
  EXPECT_EQ(error_of([&] { log->append(make_record(0, 4 * kPageSize)); }), EFBIG);
  for (std::size_t length : {777u, 100u, 9u, 1u, 0u})
    fill(length);
  log->sync();
  EXPECT_EQ(log->used(), log->capacity());
  const auto again = open_plain(location(4 * kPageSize));
  EXPECT_EQ(read_all(*again), expected);
  EXPECT_FALSE(again->fits(0));
  EXPECT_EQ(error_of([&] { again->append(Record()); }), EFBIG);
}

TEST_P(MlogTest, LargestRecordFillsTheLog) {
  const std::uint64_t blocks = kCapacity / sector();
  const std::size_t largest = blocks * (sector() - kOverhead);
  const auto log = open_plain(location());
  EXPECT_FALSE(log->fits(largest + 1));
  EXPECT_TRUE(log->fits(largest));
  const Records expected = {make_record(0, largest)};
  log->append(expected[0]);
  log->sync();
  EXPECT_EQ(read_all(*open_plain(location())), expected);
}

TEST_P(MlogTest, ReopenedLogGoesOnInANewBlock) {
  Records expected;
  std::mt19937_64 random(11);
  for (int round = 0; round < 60; ++round) {
    const auto log = open_plain(location());
    ASSERT_EQ(read_all(*log), expected) << "round " << round;
    const auto blocks_before = log->stats().blocks;
    EXPECT_EQ(log->used(), std::uint64_t{blocks_before} * sector());
    const int records = static_cast<int>(random() % 6);
    for (int i = 0; i < records; ++i) {
      expected.push_back(make_record(expected.size(), random() % (3 * sector())));
      log->append(expected.back());
      if (random() % 2 == 0) log->sync();
    }
    log->sync();
    EXPECT_EQ(read_all(*log), expected);
  }
}

TEST_P(MlogTest, FactsFollowTheFlushes) {
  const auto log = open_plain(location());
  const auto stats = [&] {
    const auto f = log->stats();
    return std::array{f.blocks, f.last_flush_set, f.next_flush_set};
  };
  EXPECT_EQ(stats(), (std::array{0u, 0u, 1u}));
  log->append(make_record(0, 10));
  log->sync();
  log->append(make_record(1, 10));
  log->sync();
  EXPECT_EQ(stats(), (std::array{0u, 0u, 3u})) << "the first block is still open";
  log->append(make_record(2, sector()));
  log->sync();
  EXPECT_EQ(stats(), (std::array{1u, 3u, 4u}));
  log->sync();
  EXPECT_EQ(stats(), (std::array{1u, 3u, 4u})) << "nothing to flush";
  const auto again = open_plain(location());
  EXPECT_EQ(again->stats().blocks, 2u);
  EXPECT_EQ(again->stats().last_flush_set, 3u);
  EXPECT_EQ(again->stats().next_flush_set, 4u);
}

TEST_P(MlogTest, BlocksOfOneFlushSetAndRewrittenLastBlock) {
  const auto log = open_plain(location());
  log->append(make_record(0, 3 * sector()));
  log->sync();
  log->append(make_record(1, 2 * sector()));
  log->sync();
  const Image image = device_.image();
  std::vector<std::pair<std::uint32_t, std::uint32_t>> ids;
  for (std::uint32_t block = 0; block < log->used() / sector(); ++block) {
    const auto header =
        LogBlockHeader::load(ConstByteSpan(image).subspan(kLogOffset + block * sector(), sector()));
    ASSERT_TRUE(header);
    EXPECT_EQ(header->magic, test_uuid());
    EXPECT_EQ(header->generation, 3u);
    ids.emplace_back(header->previous_flush_set, header->flush_set);
  }
  using Ids = std::pair<std::uint32_t, std::uint32_t>;
  EXPECT_EQ(ids, (std::vector<Ids>{{0, 1}, {1, 1}, {1, 1}, {1, 2}, {2, 2}, {2, 2}}));
}

TEST_P(MlogTest, WritesWholePagesWithZeroesAtTheEnd) {
  device_.put(kLogOffset, Image(kCapacity, std::byte{0xa5}));
  {
    const auto log = open_plain(location());
    log->append(make_record(0, 700));
    log->sync();
  }
  device_.take_writes();
  const auto log = open_plain(location());
  const Image before = device_.image();
  log->append(make_record(1, 1));
  log->sync();
  const auto writes = device_.take_writes();
  ASSERT_EQ(writes.size(), 1u);
  const std::uint64_t first_new = sector() == 512 ? 2 * 512 : kPageSize;
  EXPECT_EQ(writes[0].offset, kLogOffset + round_down(first_new, kPageSize));
  ASSERT_EQ(writes[0].data.size(), kPageSize);
  const std::size_t at = first_new % kPageSize;
  EXPECT_TRUE(std::equal(writes[0].data.begin(), writes[0].data.begin() + static_cast<long>(at),
                         before.begin() + kLogOffset));
  EXPECT_TRUE(std::all_of(writes[0].data.begin() + static_cast<long>(at + kOverhead + 1),
                          writes[0].data.end(),
                          [](std::byte byte) { return byte == std::byte{}; }));
}

TEST_P(MlogTest, FullBufferIsWrittenInFlushSetsOfAtMostOneMebibyte) {
  const auto log = open_plain(location());
  log->append(make_record(0, 100));
  log->sync();
  device_.take_writes();
  const std::uint64_t flushes = device_.counters().flushes;
  log->append(make_record(1, 3u << 20));
  EXPECT_GE(device_.take_writes().size(), 2u);
  log->append(make_record(2, 3u << 20));
  log->sync();
  for (const auto& write : device_.take_writes()) {
    EXPECT_LE(write.data.size(), Mlog::kFlushSetSize);
  }
  EXPECT_LE(device_.counters().flushes - flushes, 8u);
  EXPECT_EQ(read_all(*open_plain(location())),
            (Records{make_record(0, 100), make_record(1, 3u << 20), make_record(2, 3u << 20)}));
}

TEST_P(MlogTest, ResetStartsOver) {
  for (const bool clears : {true, false}) {
    device_.discard_clears = clears;
    const std::uint64_t generation = clears ? 4 : 5;
    const auto log = open_plain(location_on(device_, sector(), kCapacity, generation - 1));
    log->append(make_record(0, 5000));
    log->sync();
    log->append(make_record(1, 10));
    MlogReader reader(*log);
    Record record;
    ASSERT_TRUE(reader.next(record));
    EXPECT_EQ(error_of([&] { log->reset(generation - 1); }), EINVAL);
    device_.discard(kLogOffset, kCapacity);
    log->reset(generation);
    EXPECT_TRUE(log->empty());
    EXPECT_EQ(log->used(), 0u);
    EXPECT_EQ(log->record_count(), 0u);
    EXPECT_EQ(log->payload_bytes(), 0u);
    EXPECT_EQ(log->generation(), generation);
    EXPECT_EQ(log->stats().next_flush_set, 1u);
    const Mlog::Ticket ticket = log->append(make_record(2, 20));
    log->sync(ticket);
    reader.rewind();
    ASSERT_TRUE(reader.next(record));
    EXPECT_EQ(record, make_record(2, 20));
    EXPECT_FALSE(reader.next(record));
    MlogLocation old_place = location_on(device_, sector(), kCapacity, generation);
    EXPECT_EQ(read_all(*open_plain(old_place)), Records{make_record(2, 20)});
  }
}

TEST_P(MlogTest, ReaderBelowAResetSaysSo) {
  const auto log = open_plain(location());
  log->append(make_record(0, 5));
  MlogReader reader(*log);
  Record record;
  ASSERT_TRUE(reader.next(record));
  log->reset(9);
  EXPECT_EQ(error_of([&] { reader.next(record); }), ESTALE);
  reader.rewind();
  EXPECT_FALSE(reader.next(record));
}

TEST_P(MlogTest, ReaderSeesWhatComesLater) {
  const auto log = open_plain(location());
  MlogReader reader(*log);
  Record record;
  EXPECT_FALSE(reader.next(record));
  std::mt19937_64 random(5);
  for (std::uint64_t number = 0; number < 300; ++number) {
    const Record expected = make_record(number, random() % 2000);
    log->append(expected);
    if (number % 7 == 0) log->sync();
    ASSERT_TRUE(reader.next(record)) << number;
    ASSERT_EQ(record, expected) << number;
    ASSERT_FALSE(reader.next(record));
  }
}

TEST_P(MlogTest, PositionsComeBack) {
  const auto log = open_plain(location());
  std::mt19937_64 random(6);
  Records expected;
  for (std::uint64_t number = 0; number < 400; ++number) {
    expected.push_back(make_record(number, random() % 3000));
    log->append(expected.back());
  }
  log->sync();
  const auto again = open_plain(location());
  MlogReader reader(*again);
  std::vector<MlogPosition> positions;
  Record record;
  do {
    positions.push_back(reader.position());
  } while (reader.next(record));
  EXPECT_TRUE(std::ranges::is_sorted(positions));
  EXPECT_EQ(positions.front(), MlogPosition{});
  ASSERT_EQ(positions.size(), expected.size() + 1);
  for (int i = 0; i < 200; ++i) {
    const std::size_t number = random() % expected.size();
    reader.seek(positions[number]);
    EXPECT_EQ(reader.position(), positions[number]);
    ASSERT_TRUE(reader.next(record));
    EXPECT_EQ(record, expected[number]) << number;
  }
  reader.seek(positions.back());
  EXPECT_FALSE(reader.next(record));
  EXPECT_EQ(error_of([&] { reader.seek({0, 5}); }), EINVAL);
  EXPECT_EQ(error_of([&] { reader.seek({0, sector() + 1}); }), EINVAL);
  EXPECT_EQ(error_of([&] { reader.seek({UINT32_MAX, 0}); }), EINVAL);
}

TEST_P(MlogTest, BufferTooSmallNamesTheLengthAndTheRecordStays) {
  const auto log = open_plain(location());
  const Records records = {make_record(0, 10), make_record(1, 9000), make_record(2, 0)};
  for (const Record& record : records)
    log->append(record);
  MlogReader reader(*log);
  Record buffer(20000);
  EXPECT_EQ(reader.next(ByteSpan(buffer)), 10u);
  try {
    reader.next(ByteSpan(buffer).first(8999));
    ADD_FAILURE() << "no EOVERFLOW";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EOVERFLOW);
    EXPECT_NE(error.detail().find("9000"), std::string::npos) << error.detail();
  }
  EXPECT_EQ(reader.next(ByteSpan(buffer).first(9000)), 9000u);
  buffer.resize(9000);
  EXPECT_EQ(buffer, records[1]);
  EXPECT_EQ(reader.next(ByteSpan()), 0u);
  EXPECT_EQ(reader.next(ByteSpan()), std::nullopt);
}

TEST_P(MlogTest, MarkersAreNoRecords) {
  const auto log = Mlog::open(location(), CompactionSemantics::on);
  EXPECT_TRUE(log->empty());
  log->append_compaction_start();
  EXPECT_FALSE(log->empty());
  log->append(make_record(0, 40));
  log->append_compaction_end();
  log->append(make_record(1, 50));
  log->sync();
  EXPECT_EQ(log->record_count(), 2u);
  EXPECT_EQ(read_all(*log), (Records{make_record(0, 40), make_record(1, 50)}));
  const auto again = Mlog::open(location(), CompactionSemantics::on);
  EXPECT_TRUE(again->stats().has_compaction_start);
  EXPECT_TRUE(again->stats().has_compaction_end);
  EXPECT_EQ(again->record_count(), 2u);
}

TEST_P(MlogTest, SequentialReadingUsesLargeReads) {
  {
    const auto log = open_plain(location());
    for (std::uint64_t number = 0; number < 5000; ++number)
      log->append(make_record(number, 1000));
    log->sync();
  }
  const auto log = open_plain(location());
  const std::uint64_t before = device_.counters().reads;
  EXPECT_EQ(read_all(*log).size(), 5000u);
  EXPECT_LE(device_.counters().reads - before, log->used() / (128u << 10) + 3);
}

TEST_P(MlogTest, WritesWithoutRoomAreRepeated) {
  const auto log = open_plain(location());
  Records expected;
  const auto append = [&](std::size_t length) {
    expected.push_back(make_record(expected.size(), length));
    log->append(expected.back());
  };
  append(100);
  log->sync();
  append(3 * sector());
  device_.before_write = [](const FakeDevice::Write&) { raise(ENOSPC, "fake", "no room"); };
  EXPECT_EQ(error_of([&] { log->sync(); }, "no room"), ENOSPC);
  EXPECT_EQ(error_of([&] { log->write(UINT64_MAX); }, "no room"), ENOSPC);
  append(200);
  EXPECT_EQ(error_of([&] { log->sync(); }, "no room"), ENOSPC);
  EXPECT_EQ(read_all(*log), expected) << "while there is no room";
  device_.before_write = [](const FakeDevice::Write&) {};
  append(300);
  log->sync();
  append(400);
  log->sync();
  EXPECT_EQ(read_all(*log), expected);
  EXPECT_EQ(read_all(*open_plain(location())), expected);
}

TEST_P(MlogTest, ARecordCutInTwoByWantOfRoomEndsTheLog) {
  const auto log = open_plain(location());
  log->append(make_record(0, 100));
  log->sync();
  device_.before_write = [](const FakeDevice::Write&) { raise(ENOSPC, "fake", "no room"); };
  EXPECT_EQ(error_of([&] { log->append(make_record(1, 2 * Mlog::kFlushSetSize)); }), ENOSPC);
  device_.before_write = [](const FakeDevice::Write&) {};
  EXPECT_EQ(error_of([&] { log->append(make_record(2, 1)); }, "no room"), EIO);
  log->sync();
  EXPECT_EQ(read_all(*open_plain(location())), Records{make_record(0, 100)});
}

TEST_P(MlogTest, WithCompactionSemanticsAWriteWithoutRoomIsFinal) {
  const auto log = Mlog::open(location(), CompactionSemantics::on);
  log->append_compaction_start();
  log->append_compaction_end();
  log->sync();
  log->append(make_record(0, 100));
  device_.before_write = [](const FakeDevice::Write&) { raise(ENOSPC, "fake", "no room"); };
  EXPECT_EQ(error_of([&] { log->sync(); }, "no room"), EIO);
  device_.before_write = [](const FakeDevice::Write&) {};
  EXPECT_EQ(error_of([&] { log->sync(); }, "no room"), EIO);
}

TEST_P(MlogTest, PlacesThatCannotBe) {
  const auto open_with = [&](auto change) {
    MlogLocation where = location();
    change(where);
    return error_of([&] { open_plain(where); });
  };
  EXPECT_EQ(open_with([](MlogLocation&) {}), 0);
  EXPECT_EQ(open_with([](MlogLocation& p) { p.sector_size = 1024; }), EINVAL);
  EXPECT_EQ(open_with([](MlogLocation& p) { p.offset += 512; }), EINVAL);
  EXPECT_EQ(open_with([](MlogLocation& p) { p.capacity = 0; }), EINVAL);
  EXPECT_EQ(open_with([](MlogLocation& p) { p.capacity += 2 * kPageSize; }), EINVAL);
  EXPECT_EQ(open_with([](MlogLocation& p) { p.offset = ~std::uint64_t{0} - 4095; }), EINVAL);
  EXPECT_EQ(open_with([](MlogLocation& p) { p.capacity = ~std::uint64_t{0} - 4095; }), EINVAL);
}

INSTANTIATE_TEST_SUITE_P(Sectors, MlogTest, testing::Values(512u, 4096u));

}  // namespace
}  // namespace mpool::test

// The results of open() and readers for logs built by hand: the order of chunks, markers, the end
// of the log.
#include <gtest/gtest.h>

#include "engine/format/log_block.h"
#include "tests/engine/mlog/log_support.h"

namespace mpool::test {
namespace {

constexpr std::uint32_t kSector = 512;
constexpr std::uint64_t kValidCapacity = 4u << 20;

// One log block under construction.
class Block {
 public:
  Block(std::uint32_t previous, std::uint32_t current, std::uint64_t generation = 3,
        Uuid magic = test_uuid())
      : bytes_(kSector) {
    LogBlockHeader{.magic = magic,
                   .previous_flush_set = previous,
                   .flush_set = current,
                   .generation = generation}
        .store(bytes_);
  }
  Block& chunk(ChunkType type, std::uint32_t record_length, std::size_t length) {
    ChunkHeader{.record_length = record_length,
                .chunk_length = static_cast<std::uint16_t>(length),
                .type = type}
        .store(bytes_, fill_);
    fill_ = std::min<std::size_t>(fill_ + ChunkHeader::kSize + length, kSector);
    return *this;
  }
  Block& full(std::size_t length) {
    return chunk(ChunkType::data_full, static_cast<std::uint32_t>(length), length);
  }
  Block& start() { return chunk(ChunkType::compaction_start, 0, 0); }
  Block& end() { return chunk(ChunkType::compaction_end, 0, 0); }
  Block& raw_type(unsigned char type) {
    bytes_[fill_ + 6] = std::byte{type};
    return *this;
  }
  const Image& bytes() const { return bytes_; }

 private:
  Image bytes_;
  std::size_t fill_ = LogBlockHeader::kSize;
};

class MlogValidation : public testing::Test {
 protected:
  void put(std::uint32_t at, const Block& block) {
    device_.put(kLogOffset + std::uint64_t{at} * kSector, block.bytes());
  }
  void put_all(const std::vector<Block>& blocks) {
    for (std::uint32_t i = 0; i < blocks.size(); ++i)
      put(i, blocks[i]);
  }
  std::unique_ptr<Mlog> open(CompactionSemantics semantics = CompactionSemantics::off) {
    return Mlog::open(location_on(device_, kSector, kValidCapacity), semantics);
  }
  // Expects ENODATA with a message that names the log and contains `what`.
  void expect_corrupt(const std::string& what,
                      CompactionSemantics semantics = CompactionSemantics::off) {
    try {
      open(semantics);
      ADD_FAILURE() << "opened, expected: " << what;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ENODATA);
      EXPECT_EQ(error.subject(), "test log");
      EXPECT_NE(error.detail().find(what), std::string::npos) << error.detail();
    }
  }
  std::vector<std::size_t> lengths(const Mlog& log) {
    std::vector<std::size_t> result;
    for (const Record& record : read_all(log))
      result.push_back(record.size());
    return result;
  }
  using Lengths = std::vector<std::size_t>;

  FakeDevice device_{kLogOffset + kValidCapacity};
};

constexpr auto kFirst = ChunkType::data_first;
constexpr auto kMiddle = ChunkType::data_middle;
constexpr auto kLast = ChunkType::data_last;

TEST_F(MlogValidation, GapsInFlushSetIdsAreFine) {
  put_all({Block(0, 5).full(10), Block(5, 9).full(11)});
  const auto log = open();
  EXPECT_EQ(lengths(*log), (Lengths{10, 11}));
  EXPECT_EQ(log->stats().blocks, 2u);
  EXPECT_EQ(log->stats().last_flush_set, 9u);
  EXPECT_EQ(log->stats().next_flush_set, 10u);
}

TEST_F(MlogValidation, LogEndsAtTheFirstBlockThatDoesNotBelong) {
  const Block good = Block(0, 1).full(10);
  const Block torn = Block(3, 3).full(1);
  for (const Block& other :
       {Block(2, 2).full(1), Block(1, 2, 2).full(1), Block(1, 2, 3, test_uuid(8)).full(1)}) {
    put_all({good, other, torn});
    const auto log = open();
    EXPECT_EQ(lengths(*log), Lengths{10});
    EXPECT_TRUE(log->opened().torn_blocks);
    EXPECT_EQ(log->stats().next_flush_set, 4u) << "block 2 is stale, but its id is taken";
  }
}

TEST_F(MlogValidation, TheNextBlockButForItsVersionIsDamage) {
  put_all({Block(0, 1).full(10)});
  Image newer = Block(1, 2).full(1).bytes();
  newer[0] = std::byte{2};
  device_.put(kLogOffset + kSector, newer);
  expect_corrupt("2 flipped bits");
}

TEST_F(MlogValidation, ALaterFlushSetBehindTheEndIsDamage) {
  const Block good = Block(0, 1).full(10);
  for (const Block& other : {Block(2, 2).full(1), Block(1, 2, 2).full(1), Block(0, 1).full(1)}) {
    put_all({good, other, Block(2, 3).full(1)});
    expect_corrupt("log block 1 ");
  }
  put_all({good, Block(1, 2, 4).full(1)});
  expect_corrupt("has generation 4");
}

TEST_F(MlogValidation, StaleFlushSetIdsAreFoundUpToOneMebibyteBehindTheLastOne) {
  const std::uint32_t window = (1u << 20) / kSector;
  const std::uint32_t per_page = kPageSize / kSector;
  put(0, Block(0, 1).full(10));
  put(window + per_page, Block(99, 99).full(1));
  put(20, Block(200, 200, 2).full(1));
  put(21, Block(300, 300, 3, test_uuid(8)).full(1));
  EXPECT_EQ(open()->stats().next_flush_set, 2u);
  put(window, Block(77, 77).full(1));
  EXPECT_EQ(open()->stats().next_flush_set, 100u);
}

TEST_F(MlogValidation, TornRecordAtTheEndIsDropped) {
  put_all({Block(0, 1).full(10).chunk(kFirst, 2000, 446), Block(1, 1).chunk(kMiddle, 2000, 464)});
  const auto log = open();
  EXPECT_EQ(lengths(*log), Lengths{10});
  EXPECT_EQ(log->record_count(), 1u);
  log->append(make_record(0, 33));
  log->sync();
  EXPECT_EQ(lengths(*open()), (Lengths{10, 33}));
}

TEST_F(MlogValidation, TornRecordFollowedByANewOneAtABlockStartIsDropped) {
  put_all({Block(0, 1).full(10).chunk(kFirst, 2000, 446),
           Block(1, 2).full(5).chunk(kFirst, 900, 451), Block(2, 3).chunk(kFirst, 500, 464),
           Block(3, 4).chunk(kLast, 500, 36).full(6)});
  EXPECT_EQ(lengths(*open()), (Lengths{10, 5, 500, 6}));
}

TEST_F(MlogValidation, EmptyFirstChunk) {
  put_all({Block(0, 1).full(456).chunk(kFirst, 10, 0), Block(1, 1).chunk(kLast, 10, 10)});
  EXPECT_EQ(lengths(*open()), (Lengths{456, 10}));
}

TEST_F(MlogValidation, ChunksOutOfOrder) {
  const std::vector<std::pair<std::vector<Block>, std::string>> cases = {
      {{Block(0, 1).chunk(kMiddle, 900, 464)}, "did not begin"},
      {{Block(0, 1).chunk(kLast, 9, 9)}, "did not begin"},
      {{Block(0, 1).full(3).chunk(kLast, 9, 9)}, "did not begin"},
      {{Block(0, 1).chunk(kFirst, 90, 9).full(4)}, "before the end"},
      {{Block(0, 1).chunk(kFirst, 90, 9).chunk(kFirst, 90, 9)}, "before the end"},
      {{Block(0, 1).chunk(kFirst, 90, 9).chunk(kLast, 90, 81)}, "not at the start"},
      {{Block(0, 1).chunk(kFirst, 500, 464), Block(1, 1).chunk(kLast, 501, 37)}, "record length"},
      {{Block(0, 1).chunk(kFirst, 500, 464), Block(1, 1).chunk(kLast, 500, 35)}, "499 bytes"},
      {{Block(0, 1).chunk(kFirst, 500, 464), Block(1, 1).chunk(kLast, 500, 37)}, "501 bytes"},
      {{Block(0, 1).chunk(kFirst, 500, 464), Block(1, 1).chunk(kMiddle, 500, 464)}, "928 bytes"},
      {{Block(0, 1).chunk(kFirst, 5, 9)}, "begins with a chunk of 9"},
      {{Block(0, 1).chunk(ChunkType::data_full, 5, 9)}, "whole record of 5"},
      {{Block(0, 1).chunk(ChunkType::data_full, 465, 465)}, "room for 464"},
      {{Block(0, 1).full(1).raw_type(7)}, "block 0 offset 49: unknown record type"},
      {{Block(0, 1).full(1), Block(1, 2)}, "block 1 offset 40: log block without records"},
  };
  for (const auto& [blocks, what] : cases) {
    put_all({Block(9, 9), Block(9, 9)});
    put_all(blocks);
    expect_corrupt(what);
  }
}

TEST_F(MlogValidation, MarkersNeedCompactionSemantics) {
  put_all({Block(0, 1).start()});
  expect_corrupt("compaction marker in a log without");
  put_all({Block(0, 1).full(1).end()});
  expect_corrupt("block 0 offset 49: compaction marker in a log without");
}

TEST_F(MlogValidation, CompactionSemantics) {
  constexpr auto kOn = CompactionSemantics::on;
  EXPECT_TRUE(open(kOn)->empty());
  put_all({Block(0, 1).full(1)});
  expect_corrupt("does not begin with a compaction start", kOn);
  put_all({Block(0, 1).chunk(kFirst, 900, 464)});
  expect_corrupt("does not begin with a compaction start", kOn);
  put_all({Block(0, 1).end()});
  expect_corrupt("does not begin with a compaction start", kOn);
  put_all({Block(0, 1).full(1).start()});
  expect_corrupt("does not begin with a compaction start", kOn);
  put_all({Block(0, 1).start().start().end()});
  expect_corrupt("second compaction start", kOn);
  put_all({Block(0, 1).start().end().end()});
  expect_corrupt("second compaction end", kOn);
  put_all({Block(0, 1).start().chunk(kFirst, 900, 400), Block(1, 1).end()});
  expect_corrupt("inside a record", kOn);
  put_all({Block(0, 1).start().chunk(ChunkType::compaction_end, 4, 4), Block(9, 9)});
  expect_corrupt("marker with a length", kOn);
  put_all({Block(0, 1).start().full(3)});
  EXPECT_EQ(error_of([&] { open(kOn); }), EMSGSIZE);
  put_all({Block(0, 1).start().full(3).end().full(4)});
  EXPECT_EQ(lengths(*open(kOn)), (Lengths{3, 4}));
}

TEST_F(MlogValidation, ReaderNoticesBlocksThatChangedBelow) {
  put_all({Block(0, 1).full(1), Block(1, 2).full(2)});
  const auto log = open();
  put(0, Block(0, 1, 2).full(1));
  MlogReader reader(*log);
  Record record;
  // The page is in memory for the next append.
  EXPECT_TRUE(reader.next(record));

  std::vector<Block> blocks = {Block(0, 1).full(1)};
  for (std::uint32_t i = 1; i < 8; ++i)
    blocks.push_back(Block(i, i + 1).full(2));
  put_all(blocks);
  const auto whole_page = open();
  put(3, Block(3, 4, 2).full(1));
  MlogReader second(*whole_page);
  EXPECT_EQ(error_of([&] { second.next(record); }), ENODATA);
  put(3, blocks[3]);
  EXPECT_TRUE(second.next(record));
}

TEST_F(MlogValidation, ClaimedLengthCostsNoMemory) {
  put_all({Block(0, 1).chunk(kFirst, 4294967295u, 464), Block(1, 2).full(8)});
  EXPECT_EQ(lengths(*open()), Lengths{8});
}

TEST_F(MlogValidation, LogWithoutFlushSetIdsLeftIsFull) {
  put_all({Block(0, 4294967295u).full(8)});
  const auto log = open();
  EXPECT_EQ(lengths(*log), Lengths{8});
  EXPECT_FALSE(log->fits(1));
  EXPECT_EQ(error_of([&] { log->append(make_record(0, 1)); }), EFBIG);
}

}  // namespace
}  // namespace mpool::test

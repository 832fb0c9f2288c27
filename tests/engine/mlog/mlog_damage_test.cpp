// Damage of single blocks and pages of a log: it is distinguished from the result of a crash, never
// treated as the end of the log where a later flush set follows.
#include <gtest/gtest.h>

#include "engine/format/log_block.h"
#include "engine/io/simulated_device.h"
#include "tests/engine/mlog/log_support.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kDamagedCapacity = 1u << 20;

class MlogDamage : public testing::TestWithParam<std::uint32_t> {
 protected:
  MlogLocation location(Device& device) {
    return location_on(device, GetParam(), kDamagedCapacity);
  }
  ConstByteSpan block(const Image& image, std::uint32_t index) {
    return ConstByteSpan(image).subspan(kLogOffset + std::size_t{index} * GetParam(), GetParam());
  }
  // Many flush sets: of a block, of several, and some that rewrite the last block.
  Records fill(Mlog& log) {
    Records records;
    for (std::uint64_t number = 0; number < 40; ++number) {
      const std::size_t unit = GetParam() / 8;
      records.push_back(make_record(number, unit + 2 * unit * (number % 7)));
      log.append(records.back());
      if (number % 3 != 1) log.sync();
    }
    log.sync();
    return records;
  }
  void expect_refused(const std::string& what) {
    try {
      open_plain(location(device_));
      ADD_FAILURE() << "opened, expected: " << what;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ENODATA);
      EXPECT_NE(error.detail().find(what), std::string::npos) << error.detail();
    }
  }
  // The records before the first of `blocks`.
  std::size_t records_before(const Image& image, std::uint32_t blocks) {
    FakeDevice copy(image);
    const Image nothing(kDamagedCapacity - std::size_t{blocks} * GetParam());
    copy.put(kLogOffset + std::uint64_t{blocks} * GetParam(), nothing);
    return open_plain(location(copy))->record_count();
  }

  FakeDevice device_{kLogOffset + kDamagedCapacity};
};

TEST_P(MlogDamage, EveryDamagedBlockBeforeTheLastFlushSet) {
  Records records;
  {
    const auto log = open_plain(location(device_));
    records = fill(*log);
  }
  const Image good = device_.image();
  const std::uint32_t blocks = open_plain(location(device_))->stats().blocks;
  // The last flush set is the last record's.
  std::uint32_t last_set = blocks - 1;
  while (LogBlockHeader::load(block(good, last_set))->previous_flush_set ==
         LogBlockHeader::load(block(good, last_set))->flush_set)
    --last_set;
  ASSERT_GT(last_set, 12u);
  const auto damages = {
      +[](ByteSpan block) { std::ranges::fill(block.first(18), std::byte{255}); },  // magic
      +[](ByteSpan block) { block[24] ^= std::byte{4}; },                           // previous id
      +[](ByteSpan block) { block[32] ^= std::byte{1}; },                           // generation
      +[](ByteSpan block) { block[39] ^= std::byte{1}; },  // generation, greater
      +[](ByteSpan block) { std::ranges::fill(block, std::byte{}); },
  };
  for (std::uint32_t index = 0; index < last_set; ++index) {
    for (const auto& damage : damages) {
      SCOPED_TRACE(fmt::format("block {}", index));
      const ConstByteSpan whole = block(good, index);
      Image bytes(whole.begin(), whole.end());
      damage(bytes);
      const std::uint64_t at = kLogOffset + std::uint64_t{index} * GetParam();
      device_.put(at, bytes);
      device_.take_writes();
      expect_refused(fmt::format("log block {} (byte {} of fake)", index, at));
      const auto log = Mlog::open(location(device_), CompactionSemantics::off, OnDamage::report);
      EXPECT_NE(log->opened().damage, "");
      EXPECT_EQ(log->stats().blocks, index);
      EXPECT_EQ(log->record_count(), records_before(good, index));
      EXPECT_EQ(read_all(*log).size(), log->record_count());
      EXPECT_EQ(error_of([&] { log->append(Record()); }), EIO);
      EXPECT_TRUE(device_.take_writes().empty());
      device_.put(at, whole);
    }
  }
  EXPECT_EQ(read_all(*open_plain(location(device_))), records) << "the blocks were put back";
}

// A block that is the log's next one except for a bit can only come from damage, also as the last
// one; its content can be read.
TEST_P(MlogDamage, AFlippedBitOfAMagicIsReadOver) {
  Records records;
  {
    const auto log = open_plain(location(device_));
    records = fill(*log);
  }
  const Image good = device_.image();
  const std::uint32_t blocks = open_plain(location(device_))->stats().blocks;
  for (std::uint32_t index = 0; index < blocks; ++index) {
    for (const std::size_t byte : {0, 1, 2, 9, 17}) {
      SCOPED_TRACE(fmt::format("block {} byte {}", index, byte));
      const std::uint64_t at = kLogOffset + std::uint64_t{index} * GetParam();
      const std::byte flipped = good[at + byte] ^ std::byte{8};
      device_.put(at + byte, {&flipped, 1});
      expect_refused(fmt::format("log block {} (byte {} of fake) is damaged", index, at));
      const auto log = Mlog::open(location(device_), CompactionSemantics::off, OnDamage::report);
      EXPECT_NE(log->opened().damage, "");
      EXPECT_EQ(read_all(*log), records);
      device_.put(at, block(good, index));
    }
  }
}

TEST_P(MlogDamage, ZeroedAndStaleAndSwappedPages) {
  std::vector<Image> versions;  // after each flush
  device_.before_flush = [&] { versions.push_back(device_.image()); };
  {
    const auto log = open_plain(location(device_));
    fill(*log);
  }
  const Image good = device_.image();
  const std::uint64_t pages = ceil_div(
      std::uint64_t{open_plain(location(device_))->stats().blocks} * GetParam(), kPageSize);
  ASSERT_GT(pages, 3u);
  const auto page = [](const Image& image, std::uint64_t number) {
    return ConstByteSpan(image).subspan(kLogOffset + number * kPageSize, kPageSize);
  };
  const auto try_page = [&](std::uint64_t number, ConstByteSpan bytes) {
    if (std::ranges::equal(bytes, page(good, number))) return;
    device_.put(kLogOffset + number * kPageSize, bytes);
    expect_refused("log block ");
    device_.put(kLogOffset + number * kPageSize, page(good, number));
  };
  // The last flush set may lie in the last two pages.
  for (std::uint64_t number = 0; number + 2 < pages; ++number) {
    SCOPED_TRACE(fmt::format("page {}", number));
    try_page(number, Image(kPageSize));
    for (const Image& version : versions)
      try_page(number, page(version, number));
    for (std::uint64_t other = 0; other < pages; ++other)
      if (other != number) try_page(number, page(good, other));
  }
}

TEST_P(MlogDamage, RecordOfAGreaterGenerationWasLost) {
  {
    const auto log = open_plain(location(device_));
    fill(*log);
    log->reset(9);
    log->append(make_record(0, 10));
    log->sync();
  }
  expect_refused("has generation 9, but the generation recorded for the log is 3");
}

TEST_P(MlogDamage, BytesBehindTheEndOfABlock) {
  {
    const auto log = open_plain(location(device_));
    log->append(make_record(0, 100));
    log->append(make_record(1, 100));
    log->sync();
  }
  // The second record's type becomes "end of the block".
  const std::byte none{};
  device_.put(kLogOffset + LogBlockHeader::kSize + ChunkHeader::kSize + 100 + 6, {&none, 1});
  expect_refused("bytes after the last record of the block");
}

TEST_P(MlogDamage, ABlockOfAFlushSetThatForgetsTheRecordBeforeIt) {
  {
    const auto log = open_plain(location(device_));
    log->append(make_record(0, 3 * GetParam()));
    log->append(make_record(1, 3 * GetParam()));
    log->sync();
  }
  // Its second block overwrites the third: both are of the set, but a piece is missing.
  const Image good = device_.image();
  device_.put(kLogOffset + 2ull * GetParam(), block(good, 3));
  EXPECT_EQ(error_of([&] { open_plain(location(device_)); }), ENODATA);
}

// Blocks found by open() may be in the device's cache only, left by a killed program.
TEST_P(MlogDamage, WhatOpenFoundIsDurableAfterSync) {
  const auto media = std::make_shared<SimulatedMedia>(kLogOffset + kDamagedCapacity, GetParam());
  const auto history = std::make_shared<SimulatedHistory>();
  const Record record = make_record(0, 100);
  {
    SimulatedDevice device("first", media, {.history = history, .faults = nullptr});
    const auto log = open_plain(location(device));
    const Mlog::Ticket ticket = log->append(record);
    log->write(ticket);
  }
  const auto flushes = [&] {
    return std::ranges::count(history->operations(), SimulatedOperation::Kind::flush,
                              &SimulatedOperation::kind);
  };
  ASSERT_EQ(flushes(), 0);
  SimulatedDevice device("second", media, {.history = history, .faults = nullptr});
  const auto log = open_plain(location(device));
  EXPECT_EQ(read_all(*log), Records{record});
  log->sync();
  EXPECT_EQ(flushes(), 1);
  log->sync();
  EXPECT_EQ(flushes(), 1);
}

// A flush set is only written when the one before it is durable.
TEST_P(MlogDamage, FlushSetsBecomeDurableOneAfterTheOther) {
  constexpr std::uint64_t kLarge = 4u << 20;
  FakeDevice device(kLogOffset + kLarge);
  const MlogLocation large = location_on(device, GetParam(), kLarge);
  std::size_t since_flush = 0;
  device.before_flush = [&] { since_flush = 0; };
  device.before_write = [&](const FakeDevice::Write&) { EXPECT_EQ(since_flush++, 0u); };
  {
    const auto log = open_plain(large);
    for (std::uint64_t number = 0; number < 10; ++number)
      log->write(log->append(make_record(number, 300)));
    log->append(make_record(10, (5u << 20) / 2));
    log->write(log->append(make_record(11, 10)));
  }
  const auto log = open_plain(large);
  log->write(log->append(make_record(12, 10)));
  EXPECT_EQ(since_flush, 1u);
  EXPECT_EQ(log->record_count(), 13u);
}

INSTANTIATE_TEST_SUITE_P(Sectors, MlogDamage, testing::Values(512u, 4096u));

}  // namespace
}  // namespace mpool::test

#include "engine/mlog/mdc.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "tests/engine/mlog/mdc_support.h"

namespace mpool::test {
namespace {

TEST_P(MdcTest, FirstUse) {
  const auto mdc = pair_.open();
  EXPECT_EQ(pair_.generations, (Generations{0, 1}));
  const Mdc::Stats stats = mdc->stats();
  EXPECT_EQ(stats.active, 0u);
  EXPECT_EQ(stats.ids, kIds);
  EXPECT_EQ(stats.generations, (Generations{0, 1}));
  EXPECT_EQ(stats.log.blocks, 0u);
  EXPECT_EQ(stats.log.next_flush_set, 3u);
  EXPECT_TRUE(stats.log.has_compaction_start);
  EXPECT_TRUE(stats.log.has_compaction_end);
  EXPECT_EQ(mdc->name(), "mdc");
  EXPECT_EQ(mdc->capacity(), kHalf);
  EXPECT_EQ(mdc->used(), GetParam());
  EXPECT_EQ(content(*mdc), Records());
}

TEST_P(MdcTest, OpeningTwiceChangesNothing) {
  pair_.open();
  pair_.device.take_writes();
  pair_.before_record = [](ObjectId, std::uint64_t) { ADD_FAILURE() << "erased again"; };
  EXPECT_EQ(pair_.open()->stats().active, 0u);
  EXPECT_TRUE(pair_.device.take_writes().empty());
}

TEST_P(MdcTest, AppendedAndSyncedRecordsAreFoundAgain) {
  const Records records = some_records(0, 20);
  {
    const auto mdc = pair_.open();
    Mdc::Ticket last = 0;
    for (const Record& record : records) {
      const Mdc::Ticket ticket = mdc->append(record);
      EXPECT_GT(ticket, last);
      last = ticket;
    }
    EXPECT_EQ(content(*mdc), records);
    mdc->sync(last);
  }
  EXPECT_EQ(content(*pair_.open()), records);
}

TEST_P(MdcTest, CompactionReplacesTheContent) {
  const Records live = some_records(100, 7);
  {
    const auto mdc = pair_.open();
    for (const Record& record : some_records(0, 50))
      mdc->append(record);
    mdc->compact([&](const Mdc::Append& append) { write_all(live, append); });
    EXPECT_EQ(mdc->stats().active, 1u);
    EXPECT_EQ(pair_.generations, (Generations{2, 1}));
    EXPECT_EQ(mdc->stats().generations, pair_.generations);
    EXPECT_EQ(content(*mdc), live);
  }
  auto mdc = pair_.open();
  EXPECT_EQ(content(*mdc), live);
  for (unsigned round = 0; round < 6; ++round) {
    mdc->compact([&](const Mdc::Append& append) { write_all(live, append); });
    EXPECT_EQ(mdc->stats().active, round % 2);
    EXPECT_EQ(content(*mdc), live);
  }
  EXPECT_EQ(pair_.generations, (Generations{8, 7}));
}

TEST_P(MdcTest, TicketsHoldOverCompactions) {
  Records expected;
  const auto mdc = pair_.open();
  const auto append = [&] {
    expected.push_back(make_record(expected.size(), 60));
    return mdc->append(expected.back());
  };
  const Mdc::Ticket before = append();
  for (int round = 0; round < 5; ++round) {
    const Mdc::Ticket old = append();
    mdc->compact([&](const Mdc::Append& to) { write_all(expected, to); });
    const std::uint64_t flushes = pair_.device.counters().flushes;
    const Mdc::Ticket after = append();
    EXPECT_GT(after, old);
    mdc->sync(old);
    mdc->sync(before);
    EXPECT_EQ(pair_.device.counters().flushes, flushes) << "durable by the compaction";
    mdc->sync(after);
    EXPECT_EQ(pair_.device.counters().flushes, flushes + 1);
    Pair copy(GetParam(), pair_.generations, pair_.device.image());
    EXPECT_EQ(content(*copy.open()), expected);
  }
}

// Several MDCs on one device.
struct Group {
  explicit Group(std::uint32_t sector, std::size_t count = 3) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto location = [&](unsigned half) -> MlogLocation {
        return {.device = &device,
                .offset = (2 * i + half) * kHalf,
                .capacity = kHalf,
                .sector_size = sector,
                .uuid = test_uuid(static_cast<unsigned char>(2 * i + half)),
                .generation = 0,
                .name = fmt::format("log {} of {}", half, i)};
      };
      mdcs.push_back(Mdc::open(fmt::format("mdc {}", i),
                               {{{kIds[0], location(0)}, {kIds[1], location(1)}}},
                               [](ObjectId, std::uint64_t) {}));
    }
  }
  // Appends a record to each.
  std::vector<Mdc::Point> append(std::uint64_t number) {
    std::vector<Mdc::Point> points;
    for (const auto& mdc : mdcs)
      points.push_back({mdc.get(), mdc->append(make_record(number, 60))});
    return points;
  }

  FakeDevice device{6 * kHalf};
  std::vector<std::unique_ptr<Mdc>> mdcs;
};

TEST_P(MdcTest, SeveralShareAFlush) {
  Group group(GetParam());
  for (std::uint64_t number = 0; number < 3; ++number) {
    const auto points = group.append(number);
    group.device.take_writes();
    const std::uint64_t flushes = group.device.counters().flushes;
    std::size_t written_before_flush = 0;
    group.device.before_flush = [&] { written_before_flush = group.device.take_writes().size(); };
    Mdc::sync(points);
    EXPECT_EQ(written_before_flush, 3u);
    EXPECT_EQ(group.device.counters().flushes, flushes + 1);
    Mdc::sync(points);
    for (const auto& [mdc, ticket] : points)
      mdc->sync(ticket);
    EXPECT_EQ(group.device.counters().flushes, flushes + 1) << "all was durable";
    EXPECT_TRUE(group.device.take_writes().empty());
  }
}

TEST_P(MdcTest, ACompactionWhileSeveralShareAFlush) {
  Group group(GetParam());
  const auto points = group.append(0);
  bool compacted = false;
  group.device.before_write = [&](const FakeDevice::Write& write) {
    // The first is written but not flushed when the last is written.
    if (write.offset < 4 * kHalf || std::exchange(compacted, true)) return;
    group.mdcs[0]->compact([](const Mdc::Append& append) { append(make_record(5, 60)); });
    group.mdcs[0]->append(make_record(6, 60));
  };
  Mdc::sync(points);
  ASSERT_TRUE(compacted);
  EXPECT_EQ(content(*group.mdcs[0]), (Records{make_record(5, 60), make_record(6, 60)}));
  const std::uint64_t flushes = group.device.counters().flushes;
  group.mdcs[0]->sync(group.mdcs[0]->append(make_record(7, 60)));
  EXPECT_EQ(group.device.counters().flushes, flushes + 1);
}

TEST_P(MdcTest, AFailedFlushOfSeveralLeavesNoneDurable) {
  Group group(GetParam());
  const auto before = group.append(0);
  group.mdcs[2]->sync(before[2].ticket);
  const auto points = group.append(1);
  group.device.before_flush = [] { throw Error(EIO, "fake", "made to fail"); };
  EXPECT_EQ(error_of([&] { Mdc::sync(points); }), EIO);
  group.device.before_flush = [] {};
  for (const auto& [mdc, ticket] : points)
    EXPECT_EQ(error_of([&] { mdc->sync(ticket); }), EIO);
  EXPECT_EQ(error_of([&] { Mdc::sync(points); }), EIO);
  EXPECT_EQ(error_of([&] { group.mdcs[2]->sync(before[2].ticket); }), 0);
}

TEST_P(MdcTest, TicketsOfRecordsThatACompactionDropped) {
  const auto mdc = pair_.open();
  const Mdc::Ticket first = mdc->append(make_record(0, 60));
  for (const Record& record : some_records(1, 20))
    mdc->append(record);
  mdc->compact([](const Mdc::Append& append) { append(make_record(0, 60)); });
  const Mdc::Ticket after = mdc->append(make_record(50, 60));
  const std::uint64_t flushes = pair_.device.counters().flushes;
  mdc->sync(first);
  EXPECT_EQ(pair_.device.counters().flushes, flushes);
  mdc->sync(after);
  EXPECT_EQ(pair_.device.counters().flushes, flushes + 1);
}

TEST_P(MdcTest, FullMdcIsCompactedAndTakesMore) {
  const auto mdc = pair_.open();
  const Record record = make_record(1, 700);
  while (mdc->fits(record.size()))
    mdc->append(record);
  EXPECT_EQ(error_of([&] { mdc->append(record); }), EFBIG);
  mdc->compact([&](const Mdc::Append& append) { append(record); });
  mdc->sync(mdc->append(record));
  EXPECT_EQ(content(*pair_.open()), (Records{record, record}));
}

TEST_P(MdcTest, CompactionThatDoesNotFitLeavesTheOldContent) {
  Records records = some_records(0, 10);
  const auto mdc = pair_.open();
  for (const Record& record : records)
    mdc->append(record);
  const auto too_much = [&](const Mdc::Append& append) {
    for (;;)
      append(records[0]);
  };
  for (int attempt = 0; attempt < 2; ++attempt) {
    EXPECT_EQ(error_of([&] { mdc->compact(too_much); }), EFBIG);
    EXPECT_EQ(mdc->stats().active, 0u);
    records.push_back(make_record(99, 10));
    mdc->sync(mdc->append(records.back()));
    EXPECT_EQ(content(*mdc), records);
    Pair copy(GetParam(), pair_.generations, pair_.device.image());
    EXPECT_EQ(content(*copy.open()), records);
  }
  const Records live = some_records(50, 3);
  mdc->compact([&](const Mdc::Append& append) { write_all(live, append); });
  EXPECT_EQ(content(*mdc), live);
  EXPECT_EQ(content(*pair_.open()), live);
}

TEST_P(MdcTest, WhatTheCallerThrowsGoesThrough) {
  const auto mdc = pair_.open();
  EXPECT_THROW(mdc->compact([](const Mdc::Append&) { throw std::runtime_error("mine"); }),
               std::runtime_error);
  mdc->sync(mdc->append(make_record(0, 5)));
  EXPECT_EQ(content(*pair_.open()), Records{make_record(0, 5)});
}

TEST_P(MdcTest, FailureToRecordTheGenerationMakesItReadOnly) {
  const Records records = some_records(0, 4);
  for (const bool became_durable : {false, true}) {
    Pair pair(GetParam());
    const auto mdc = pair.open();
    Mdc::Ticket ticket = 0;
    for (const Record& record : records)
      ticket = mdc->append(record);
    pair.before_record = [&](ObjectId id, std::uint64_t generation) {
      if (became_durable) pair.generations[id == kIds[0] ? 0 : 1] = generation;
      raise(EIO, "owner", "cannot record");
    };
    const auto same = [&](const Mdc::Append& append) { write_all(records, append); };
    EXPECT_EQ(error_of([&] { mdc->compact(same); }), EIO);
    EXPECT_EQ(error_of([&] { mdc->append(records[0]); }), EIO);
    EXPECT_EQ(error_of([&] { mdc->compact(same); }), EIO);
    EXPECT_EQ(content(*mdc), records);
    mdc->sync(ticket);
    Pair copy(GetParam(), pair.generations, pair.device.image());
    EXPECT_EQ(content(*copy.open()), records);
  }
}

TEST_P(MdcTest, DiscardIsAdvisory) {
  pair_.device.discard_clears = false;
  Records records;
  auto mdc = pair_.open();
  for (std::uint64_t round = 0; round < 10; ++round) {
    records.push_back(make_record(round, 200));
    mdc->append(records.back());
    mdc->compact([&](const Mdc::Append& append) { write_all(records, append); });
    if (round % 3 == 0) mdc = pair_.open();
    EXPECT_EQ(content(*mdc), records);
  }
  pair_.device.discard_fails = true;
  mdc->compact([&](const Mdc::Append& append) { write_all(records, append); });
  EXPECT_EQ(content(*mdc), records);
}

INSTANTIATE_TEST_SUITE_P(Sectors, MdcTest, testing::Values(512u, 4096u));

}  // namespace
}  // namespace mpool::test

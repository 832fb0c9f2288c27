#include "engine/mlog/mdc.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "tests/engine/mlog/log_support.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kHalf = 64u << 10;
constexpr std::array<ObjectId, 2> kIds = {mdc_log_id(5, 0), mdc_log_id(5, 1)};
using Generations = std::array<std::uint64_t, 2>;

// A pair of halves, and the generations that their owner has made durable.
struct Pair {
  explicit Pair(std::uint32_t sector, Generations start = {0, 0})
      : sector_size(sector), generations(start) {}
  Pair(std::uint32_t sector, Generations start, Image image)
      : sector_size(sector), generations(start), device(std::move(image)) {}

  MlogPlace place(unsigned half) {
    return {.device = &device,
            .offset = half * kHalf,
            .capacity = kHalf,
            .sector_size = sector_size,
            .uuid = test_uuid(static_cast<unsigned char>(half)),
            .generation = generations[half],
            .name = fmt::format("half {}", half)};
  }
  std::unique_ptr<Mdc> open(Mdc::OpenOptions options = {}) {
    return Mdc::open(
        "mdc", {{{kIds[0], place(0)}, {kIds[1], place(1)}}},
        [this](ObjectId id, std::uint64_t generation) {
          before_record(id, generation);
          generations[id == kIds[0] ? 0 : 1] = generation;
          after_record();
        },
        options);
  }
  // Makes a half by hand: CSTART, the records, and CEND if `finished`.
  void write_half(unsigned half, const Records& records, bool finished) {
    const auto log = Mlog::open(place(half), CompactionSemantics::on);
    log->append_compaction_start();
    for (const Record& record : records)
      log->append(record);
    if (finished) log->append_compaction_end();
    log->sync();
  }

  std::uint32_t sector_size;
  Generations generations;
  FakeDevice device{2 * kHalf};
  std::function<void(ObjectId, std::uint64_t)> before_record = [](ObjectId, std::uint64_t) {};
  std::function<void()> after_record = [] {};
};

Records content(const Mdc& mdc) {
  MlogReader reader = mdc.reader();
  Records records;
  for (Record record; reader.next(record);)
    records.push_back(record);
  return records;
}

Records some_records(std::uint64_t first, std::uint64_t count, std::size_t length = 100) {
  Records records;
  for (std::uint64_t i = 0; i < count; ++i)
    records.push_back(make_record(first + i, length + i));
  return records;
}

void write_all(const Records& records, const Mdc::Append& append) {
  for (const Record& record : records)
    append(record);
}

class MdcTest : public testing::TestWithParam<std::uint32_t> {
 protected:
  Pair pair_{GetParam()};
};

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
      const auto place = [&](unsigned half) -> MlogPlace {
        return {.device = &device,
                .offset = (2 * i + half) * kHalf,
                .capacity = kHalf,
                .sector_size = sector,
                .uuid = test_uuid(static_cast<unsigned char>(2 * i + half)),
                .generation = 0,
                .name = fmt::format("log {} of {}", half, i)};
      };
      mdcs.push_back(Mdc::open(fmt::format("mdc {}", i),
                               {{{kIds[0], place(0)}, {kIds[1], place(1)}}},
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

// Each state of a pair: the conclusion from its generations and logs. In doubt it is refused, and
// nothing is written.
struct State {
  const char* name;
  Generations generations;
  // e: empty, s: only the start marker of a first use, u: unfinished compaction, v: valid,
  // w: valid and in use after its compaction, c: corrupt
  std::array<char, 2> halves;
  bool unused;  // the owner knows that it was never used
  int error;
  unsigned active = 0;
  Generations after = {};
};

void write_half(Pair& pair, unsigned half, char kind) {
  if (kind == 'e') return;
  if (kind == 'c') {
    const auto log = open_plain(pair.place(half));
    log->sync(log->append(make_record(1, 9)));
    return;
  }
  pair.write_half(half, kind == 's' ? Records() : some_records(10 * half, 3),
                  kind == 'v' || kind == 'w');
  if (kind != 'w') return;
  const auto log = Mlog::open(pair.place(half), CompactionSemantics::on);
  log->sync(log->append(make_record(99, 9)));
}

TEST_P(MdcTest, StatesOfThePair) {
  const std::vector<State> states = {
      {"new", {0, 0}, {'e', 'e'}, false, 0, 0, {0, 1}},
      {"crash in first use", {0, 0}, {'s', 'e'}, false, 0, 0, {0, 1}},
      {"crash after first use", {0, 0}, {'v', 'e'}, false, 0, 0, {0, 1}},
      {"crash in first use of another program", {0, 1}, {'e', 'e'}, true, 0, 0, {0, 1}},
      {"the same, but for the start marker", {0, 1}, {'s', 'e'}, true, 0, 0, {0, 1}},
      {"in use", {4, 5}, {'v', 'e'}, false, 0, 0, {4, 5}},
      {"in use, other way round", {8, 7}, {'e', 'v'}, false, 0, 1, {8, 7}},
      {"crash in compaction", {4, 5}, {'v', 'u'}, false, 0, 0, {4, 6}},
      {"crash in compaction, other way round", {8, 7}, {'u', 'v'}, false, 0, 1, {9, 7}},
      {"finished, old half not erased", {4, 5}, {'v', 'v'}, false, 0, 0, {4, 6}},
      {"finished, other way round", {8, 7}, {'v', 'v'}, false, 0, 1, {9, 7}},
      {"empty, was in use", {0, 1}, {'e', 'e'}, false, ENXIO},
      {"empty, was in use for long", {5, 6}, {'e', 'e'}, false, ENXIO},
      {"cut after the start marker, was in use", {0, 1}, {'s', 'e'}, false, ENODATA},
      {"the active half lacks the end marker", {4, 9}, {'u', 'v'}, false, ENODATA},
      {"the same, other half empty", {4, 5}, {'u', 'e'}, false, ENODATA},
      {"the same, of a new pair", {0, 0}, {'u', 'e'}, false, ENODATA},
      {"active half empty, other not", {5, 6}, {'e', 'v'}, false, ENODATA},
      {"active half empty, other unfinished", {5, 6}, {'e', 'u'}, false, ENODATA},
      {"record of the generation lost", {4, 5}, {'v', 'w'}, false, ENODATA},
      {"both new, both written", {0, 0}, {'v', 'v'}, false, ENODATA},
      {"two unfinished", {4, 5}, {'u', 'u'}, false, ENODATA},
      {"equal generations", {4, 4}, {'v', 'e'}, false, ENODATA},
      {"equal generations, unfinished", {4, 4}, {'v', 'u'}, false, ENODATA},
      {"first corrupt", {4, 5}, {'c', 'e'}, false, ENODATA},
      {"second corrupt", {4, 5}, {'v', 'c'}, false, ENODATA},
  };
  for (const State& state : states) {
    for (const bool discard_clears : {true, false}) {
      SCOPED_TRACE(fmt::format("{}, discard_clears {}", state.name, discard_clears));
      Pair pair(GetParam(), state.generations);
      pair.device.discard_clears = discard_clears;
      for (unsigned half : {0u, 1u})
        write_half(pair, half, state.halves[half]);
      pair.device.take_writes();
      const Mdc::OpenOptions options{.use = state.unused ? PairUse::unused : PairUse::unknown};
      std::unique_ptr<Mdc> mdc;
      EXPECT_EQ(error_of([&] { mdc = pair.open(options); }), state.error);
      if (!mdc) {
        EXPECT_TRUE(pair.device.take_writes().empty());
        EXPECT_EQ(pair.generations, state.generations);
        continue;
      }
      EXPECT_EQ(mdc->stats().active, state.active);
      EXPECT_EQ(pair.generations, state.after);
      EXPECT_EQ(mdc->stats().generations, state.after);
      Records expected;
      if (state.halves[state.active] == 'v') expected = some_records(10 * state.active, 3);
      EXPECT_EQ(content(*mdc), expected);
      const Records live = some_records(70, 5);
      mdc->compact([&](const Mdc::Append& append) { write_all(live, append); });
      EXPECT_EQ(content(*mdc), live);
      EXPECT_EQ(content(*pair.open()), live);
    }
  }
}

TEST_P(MdcTest, WhatCanBeReadOfADamagedPair) {
  const std::vector<std::pair<std::array<char, 2>, Records>> states = {
      {{'v', 'w'}, some_records(0, 3)},
      {{'u', 'e'}, some_records(0, 3)},
      {{'e', 'v'}, some_records(10, 3)},
      {{'v', 'c'}, some_records(0, 3)},
      {{'e', 'e'}, Records()}};
  for (const auto& [halves, expected] : states) {
    SCOPED_TRACE(std::string(halves.begin(), halves.end()));
    Pair pair(GetParam(), {4, 5});
    for (unsigned half : {0u, 1u})
      write_half(pair, half, halves[half]);
    pair.device.take_writes();
    const auto mdc = pair.open({.on_damage = OnDamage::report});
    EXPECT_NE(mdc->damage(), "");
    EXPECT_EQ(content(*mdc), expected);
    EXPECT_EQ(error_of([&] { mdc->append(make_record(0, 1)); }), EIO);
    EXPECT_EQ(error_of([&] { mdc->compact([](const Mdc::Append&) {}); }), EIO);
    EXPECT_TRUE(pair.device.take_writes().empty());
    EXPECT_EQ(pair.generations, (Generations{4, 5}));
  }
}

TEST_P(MdcTest, StateIsWhatTheNextOpenFinds) {
  Mdc::State state;
  {
    const auto mdc = pair_.open();
    for (const Record& record : some_records(0, 20))
      mdc->sync(mdc->append(record));
    mdc->compact([&](const Mdc::Append& append) { write_all(some_records(0, 5), append); });
    mdc->sync(mdc->append(make_record(7, 700)));
    state = mdc->state();
    EXPECT_EQ(state.active, 1u);
    EXPECT_NE(state.end.blocks, 0u);
  }
  EXPECT_EQ(pair_.open()->state(), state);
}

// The device's content and the owner's generations after every write and every record, through
// appends and compactions: each must open with the content before or after the current step.
TEST_P(MdcTest, CrashAtEveryWrite) {
  struct Moment {
    Image image;
    Generations generations;
    Records before, after;
  };
  for (const bool discard_clears : {true, false}) {
    Pair pair(GetParam());
    pair.device.discard_clears = discard_clears;
    std::vector<Moment> moments;
    Records now, then;
    const auto remember = [&] {
      moments.push_back({pair.device.image(), pair.generations, now, then});
    };
    pair.device.after_write = [&](const Image&) { remember(); };
    pair.after_record = remember;
    const auto mdc = pair.open();
    for (std::uint64_t round = 0; round < 4; ++round) {
      for (const Record& record : some_records(20 * round, 4, 900)) {
        then.push_back(record);
        mdc->sync(mdc->append(record));
        now = then;
        remember();
      }
      then = {now.begin() + 2, now.end()};
      mdc->compact([&](const Mdc::Append& append) { write_all(then, append); });
      now = then;
      remember();
    }
    EXPECT_GT(moments.size(), 40u);
    for (const Moment& moment : moments) {
      Pair copy(GetParam(), moment.generations, moment.image);
      copy.device.discard_clears = discard_clears;
      const auto found = copy.open();
      const Records records = content(*found);
      ASSERT_TRUE(records == moment.before || records == moment.after);
      found->sync(found->append(make_record(1000, 10)));
      EXPECT_EQ(content(*copy.open()).size(), records.size() + 1);
    }
  }
}

// The n-th write fails, for every n: nothing durable is lost, and the next open finds it.
TEST_P(MdcTest, EveryWriteFails) {
  for (int failing = 1;; ++failing) {
    SCOPED_TRACE(fmt::format("write {}", failing));
    Pair pair(GetParam());
    Records durable;
    int writes = 0;
    pair.device.before_write = [&](const FakeDevice::Write&) {
      if (++writes == failing) raise(EIO, "fake", "no write");
    };
    const int code = error_of([&] {
      const auto mdc = pair.open();
      for (std::uint64_t round = 0; round < 3; ++round) {
        const Record record = make_record(round, 1500);
        mdc->sync(mdc->append(record));
        durable.push_back(record);
        mdc->compact([&](const Mdc::Append& append) { write_all(durable, append); });
      }
    });
    Pair copy(GetParam(), pair.generations, pair.device.image());
    EXPECT_EQ(content(*copy.open()), durable);
    if (code == 0) break;
    EXPECT_EQ(code, EIO);
  }
}

TEST_P(MdcTest, SyncsBesideCompactions) {
  const auto mdc = pair_.open();
  std::atomic<Mdc::Ticket> newest = 0;
  std::atomic<bool> done = false;
  std::vector<std::jthread> syncers;
  for (int i = 0; i < 3; ++i) {
    syncers.emplace_back([&] {
      while (!done) {
        mdc->sync(newest);
        (void)mdc->stats();
        (void)mdc->used();
      }
    });
  }
  Records records;
  for (std::uint64_t round = 0; round < 300; ++round) {
    records.push_back(make_record(round, 40));
    newest = mdc->append(records.back());
    if (round % 5 == 4) {
      mdc->compact([&](const Mdc::Append& append) { write_all(records, append); });
    }
  }
  mdc->sync(newest);
  done = true;
  syncers.clear();
  EXPECT_EQ(content(*pair_.open()), records);
}

INSTANTIATE_TEST_SUITE_P(Sectors, MdcTest, testing::Values(512u, 4096u));

}  // namespace
}  // namespace mpool::test

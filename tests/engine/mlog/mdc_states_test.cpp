// The states of a pair that an MDC finds: after crashes, failures and damage.
#include <array>
#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/mlog/mdc_support.h"

namespace mpool::test {
namespace {

class MdcStatesTest : public MdcTest {};

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
    const auto log = open_plain(pair.location(half));
    log->sync(log->append(make_record(1, 9)));
    return;
  }
  pair.write_half(half, kind == 's' ? Records() : some_records(10 * half, 3),
                  kind == 'v' || kind == 'w');
  if (kind != 'w') return;
  const auto log = Mlog::open(pair.location(half), CompactionSemantics::on);
  log->sync(log->append(make_record(99, 9)));
}

TEST_P(MdcStatesTest, StatesOfThePair) {
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

TEST_P(MdcStatesTest, WhatCanBeReadOfADamagedPair) {
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

TEST_P(MdcStatesTest, StateIsWhatTheNextOpenFinds) {
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
TEST_P(MdcStatesTest, CrashAtEveryWrite) {
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
TEST_P(MdcStatesTest, EveryWriteFails) {
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

TEST_P(MdcStatesTest, SyncsBesideCompactions) {
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

INSTANTIATE_TEST_SUITE_P(Sectors, MdcStatesTest, testing::Values(512u, 4096u));

}  // namespace
}  // namespace mpool::test

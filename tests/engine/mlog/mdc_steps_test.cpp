// A compaction in two steps, and passing over records.
#include <algorithm>

#include "tests/engine/mlog/mdc_support.h"

namespace mpool::test {
namespace {

using MdcStepsTest = MdcTest;

Mdc::Ticket append_all(Mdc& mdc, const Records& records) {
  Mdc::Ticket ticket = 0;
  for (const Record& record : records)
    ticket = mdc.append(record);
  return ticket;
}

TEST_P(MdcStepsTest, ReplaceTheContent) {
  const Records old = some_records(0, 30);
  Records kept = some_records(100, 5);
  {
    const auto mdc = pair_.open();
    for (unsigned round = 0; round < 3; ++round) {
      const Mdc::Ticket before = append_all(*mdc, old);
      const unsigned active = mdc->stats().active;
      mdc->start_compaction();
      EXPECT_EQ(mdc->stats().active, 1 - active);
      mdc->sync(before);  // durable already
      EXPECT_EQ(content(*mdc), Records());
      EXPECT_LE(mdc->used(), pair_.sector_size);
      const Mdc::Ticket ticket = append_all(*mdc, kept);
      EXPECT_GT(ticket, before);
      mdc->sync(ticket);
      EXPECT_EQ(content(*mdc), kept);
      mdc->end_compaction();
      EXPECT_EQ(content(*mdc), kept);
      EXPECT_EQ(mdc->stats().active, 1 - active);
      EXPECT_GT(pair_.generations[active], pair_.generations[1 - active]);
    }
    kept.push_back(make_record(7, 50));
    mdc->sync(mdc->append(kept.back()));
  }
  EXPECT_EQ(content(*pair_.open()), kept);
}

TEST_P(MdcStepsTest, OutOfOrderAreRefused) {
  const auto mdc = pair_.open();
  EXPECT_EQ(error_of([&] { mdc->end_compaction(); }), EINVAL);
  append_all(*mdc, some_records(0, 3));
  mdc->start_compaction();
  EXPECT_EQ(error_of([&] { mdc->start_compaction(); }), EINVAL);
  EXPECT_EQ(error_of([&] { mdc->compact([](const Mdc::Append&) {}); }), EINVAL);
  append_all(*mdc, some_records(5, 2));
  mdc->end_compaction();
  EXPECT_EQ(content(*mdc), some_records(5, 2));
  EXPECT_EQ(error_of([&] { mdc->end_compaction(); }), EINVAL);
}

TEST_P(MdcStepsTest, StartMakesDurableWhatWasAppended) {
  Image at_start;
  {
    const auto mdc = pair_.open();
    append_all(*mdc, some_records(0, 10));
    mdc->start_compaction();
    at_start = pair_.device.image();
    append_all(*mdc, some_records(50, 10));
  }
  Pair after(GetParam(), pair_.generations, at_start);
  EXPECT_EQ(content(*after.open()), some_records(0, 10));
  // The same when the unfinished new content was written.
  EXPECT_EQ(content(*pair_.open()), some_records(0, 10));
}

// After each write and each record of a generation the pair is the old or the new one, whole.
TEST_P(MdcStepsTest, LeaveTheOldOrTheNewContentAtEachMoment) {
  const Records old = some_records(0, 20);
  const Records kept = some_records(100, 10);
  std::vector<std::pair<Image, Generations>> moments;
  bool ended = false;
  {
    const auto mdc = pair_.open();
    mdc->sync(append_all(*mdc, old));
    const auto remember = [&] { moments.emplace_back(pair_.device.image(), pair_.generations); };
    pair_.device.after_write = [&](const Image& image) {
      moments.emplace_back(image, pair_.generations);
    };
    pair_.after_record = remember;
    mdc->start_compaction();
    append_all(*mdc, kept);
    remember();
    mdc->end_compaction();
    remember();
    pair_.device.after_write = [](const Image&) {};
    pair_.after_record = [] {};
  }
  ASSERT_GT(moments.size(), 4u);
  for (const auto& [image, generations] : moments) {
    Pair after(GetParam(), generations, image);
    const Records found = content(*after.open());
    EXPECT_TRUE(found == old || found == kept);
    EXPECT_TRUE(!ended || found == kept) << "the old content came back";
    ended = found == kept;
  }
  EXPECT_TRUE(ended);
}

TEST_P(MdcStepsTest, AnEndThatFailsLeavesNothingToUse) {
  const Records old = some_records(0, 20);
  {
    const auto mdc = pair_.open();
    append_all(*mdc, old);
    mdc->start_compaction();
    append_all(*mdc, some_records(100, 3));
    pair_.before_record = [](ObjectId, std::uint64_t) { raise(EIO, "test", "no record"); };
    EXPECT_EQ(error_of([&] { mdc->end_compaction(); }), EIO);
    EXPECT_EQ(error_of([&] { mdc->append(make_record(1, 10)); }), EIO);
    EXPECT_EQ(error_of([&] { mdc->end_compaction(); }), EIO);
    EXPECT_EQ(error_of([&] { mdc->start_compaction(); }), EIO);
    EXPECT_EQ(error_of([&] { mdc->compact([](const Mdc::Append&) {}); }), EIO);
    pair_.before_record = [](ObjectId, std::uint64_t) {};
  }
  EXPECT_EQ(content(*pair_.open()), old);
}

TEST_P(MdcStepsTest, FollowAnUnfinishedOne) {
  const Records old = some_records(0, 20);
  {
    const auto mdc = pair_.open();
    append_all(*mdc, old);
    mdc->start_compaction();
    append_all(*mdc, some_records(100, 40));
    mdc->sync(mdc->append(make_record(1, 10)));
  }
  const auto mdc = pair_.open();
  EXPECT_EQ(content(*mdc), old);
  mdc->start_compaction();
  append_all(*mdc, some_records(200, 2));
  mdc->end_compaction();
  EXPECT_EQ(content(*mdc), some_records(200, 2));
}

INSTANTIATE_TEST_SUITE_P(Sectors, MdcStepsTest, testing::Values(512, 4096));

class SkipTest : public testing::TestWithParam<std::uint32_t> {
 protected:
  FakeDevice device_{4u << 20};
};

TEST_P(SkipTest, PassesOverRecordsOfAnyLength) {
  const auto log = open_plain(location_on(device_, GetParam(), 3u << 20));
  MlogReader reader(*log);
  EXPECT_EQ(reader.skip(), std::nullopt);
  const std::vector<std::size_t> lengths = {0, 1, 100, 511, 512, 4096, 300'000, 0, 7};
  for (std::size_t i = 0; i < lengths.size(); ++i)
    log->append(make_record(i, lengths[i]));
  for (const std::size_t length : lengths)
    EXPECT_EQ(reader.skip(), length);
  EXPECT_EQ(reader.skip(), std::nullopt);
  log->append(make_record(50, 20));
  EXPECT_EQ(reader.skip(), 20u) << "appended after the end was reached";
  log->sync();
  // Mixed with reads, from the device.
  const auto again = open_plain(location_on(device_, GetParam(), 3u << 20));
  MlogReader mixed(*again);
  Record record;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    const MlogPosition before = mixed.position();
    EXPECT_EQ(mixed.skip(), lengths[i]);
    mixed.seek(before);
    ASSERT_TRUE(mixed.next(record));
    EXPECT_EQ(record, make_record(i, lengths[i]));
  }
}

TEST_P(SkipTest, AMovedReaderContinues) {
  const auto log = open_plain(location_on(device_, GetParam(), 1u << 20));
  for (std::size_t i = 0; i < 3; ++i)
    log->append(make_record(i, 10 + i));
  MlogReader first(*log);
  EXPECT_EQ(first.skip(), 10u);
  MlogReader second(std::move(first));
  EXPECT_EQ(second.skip(), 11u);
  EXPECT_EQ(second.skip(), 12u);
  EXPECT_EQ(second.skip(), std::nullopt);
}

TEST_P(SkipTest, SaysStaleAndDamageAsRead) {
  const MlogLocation location = location_on(device_, GetParam(), 1u << 20);
  const auto log = open_plain(location);
  for (std::size_t i = 0; i < 400; ++i)
    log->append(make_record(i, 1000));
  log->sync();
  MlogReader reader(*log);
  EXPECT_EQ(reader.skip(), 1000u);
  device_.put(location.offset, Image(1u << 20));
  EXPECT_EQ(error_of([&] {
              while (reader.skip()) {
              }
            }),
            ENODATA);
  log->reset(location.generation + 1);
  EXPECT_EQ(error_of([&] { reader.skip(); }), ESTALE);
  reader.rewind();
  EXPECT_EQ(reader.skip(), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(Sectors, SkipTest, testing::Values(512, 4096));

}  // namespace
}  // namespace mpool::test

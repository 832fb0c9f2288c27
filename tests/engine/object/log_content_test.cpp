#include "engine/object/log_content.h"

#include <string>

#include <gtest/gtest.h>

#include "tests/engine/object/support.h"
#include "tests/support/bytes_of.h"

namespace mpool::test {
namespace {

ObjectRecord make_log(TestPool& test) {
  const ObjectRecord mlog = test.pool->allocate(ObjectType::mlog, TestPool::kZoneSize, {});
  test.pool->commit(std::span(&mlog, 1));
  return mlog;
}

void append_to(TestPool& test, const ObjectRecord& mlog, const std::vector<std::string>& records) {
  const auto log = Mlog::open(test.pool->mlog_location(mlog), CompactionSemantics::off);
  for (const std::string& record : records)
    log->append(bytes_of(record));
  log->sync();
}

std::string read_at(LogContent& content, std::uint64_t offset, std::size_t size) {
  std::string text(size, '\0');
  text.resize(content.read(offset, std::as_writable_bytes(std::span(text))));
  return text;
}

TEST(LogContent, IsThePayloadsOneAfterTheOther) {
  TestPool test(32);
  const ObjectRecord mlog = make_log(test);
  append_to(test, mlog, {"first", "", "second", std::string(10'000, 'x'), "end"});
  LogContent content(open_any_mlog(test.pool->mlog_location(mlog)));
  EXPECT_EQ(read_at(content, 0, 3), "fir");
  EXPECT_EQ(read_at(content, 3, 6), "stseco");
  EXPECT_EQ(read_at(content, 11 + 10'000, 100), "end");
  EXPECT_EQ(read_at(content, 11 + 10'003, 100), "");
  EXPECT_EQ(read_at(content, 1'000'000, 1), "");
  EXPECT_EQ(read_at(content, 0, 100'000), "firstsecond" + std::string(10'000, 'x') + "end");
}

TEST(LogContent, OfAnEmptyLogIsEmpty) {
  TestPool test(32);
  LogContent content(open_any_mlog(test.pool->mlog_location(make_log(test))));
  EXPECT_EQ(read_at(content, 0, 10), "");
}

TEST(LogContent, OfTheLogsOfAnMdcIsThatOfItsRecords) {
  TestPool test(32);
  const ObjectRecord first = make_log(test);
  const ObjectRecord second = make_log(test);
  {
    const auto mdc = test.pool->open_mdc(first.id, second.id);
    mdc->sync(mdc->append(bytes_of("record")));
    mdc->start_compaction();  // not ended: one log is in its compaction
    mdc->sync(mdc->append(bytes_of("new")));
  }
  std::string both;
  for (const ObjectRecord& each : {first, second}) {
    LogContent content(open_any_mlog(test.pool->mlog_location(*test.pool->find(each.id))));
    both += read_at(content, 0, 100) + ";";
  }
  EXPECT_EQ(both, "record;new;");
}

}  // namespace
}  // namespace mpool::test

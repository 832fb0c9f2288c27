#include "engine/object/log.h"

#include <atomic>
#include <map>
#include <optional>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "tests/engine/object/support.h"

namespace mpool {
namespace {

using test::content;
using test::error_of;
using test::TestPool;

// A log file and the owner's list of its mlogs.
class LogFile {
 public:
  explicit LogFile(TestPool& test, std::vector<ObjectId> ids = {})
      : test_(test), chain(std::move(ids)) {
    open();
  }

  void open() {
    log.reset();
    references_.emplace(*test_.pool, References::Deletes::at_once);
    log.emplace(*references_, extents(), least_size,
                [this](std::uint64_t size) { return add(size); });
  }
  std::vector<Extent> extents() {
    std::vector<Extent> extents;
    for (const ObjectId id : chain)
      extents.push_back({.file_offset = starts[extents.size()], .object = id});
    return extents;
  }
  // Appends the content's next `length` bytes.
  void append(std::size_t length) {
    const std::uint64_t at = log->size();
    ASSERT_EQ(log->append(content(at, length)), at + length);
  }
  void verify() {
    std::vector<std::byte> found(log->size() + 10);
    ASSERT_EQ(log->read(0, found), log->size());
    found.resize(log->size());
    ASSERT_SAME_BYTES(found, content(0, log->size()));
  }

 private:
  ObjectRecord add(std::uint64_t size) {
    if (additions_left == 0) raise(ENOSPC, "test", "no more mlogs");
    --additions_left;
    const ObjectRecord mlog = test_.pool->allocate(ObjectType::mlog, TestPool::kZoneSize, {});
    test_.pool->commit(std::span(&mlog, 1));
    starts[chain.size()] = size;
    chain.push_back(mlog.id);
    return mlog;
  }

  TestPool& test_;
  std::optional<References> references_;

 public:
  std::map<std::size_t, std::uint64_t> starts;  // by place in the chain
  int additions_left = 1'000'000;
  std::uint64_t least_size = 0;
  std::vector<ObjectId> chain;
  std::optional<Log> log;
};

TEST(Log, Empty) {
  TestPool test(32);
  LogFile file(test);
  std::vector<std::byte> into(10);
  EXPECT_EQ(file.log->size(), 0u);
  EXPECT_EQ(file.log->read(0, into), 0u);
  EXPECT_FALSE(file.log->dirty());
  file.log->sync();
}

TEST(Log, AppendsOverSeveralMlogs) {
  TestPool test(64);
  LogFile file(test);
  std::mt19937 random(1);
  while (file.chain.size() < 4)
    file.append(random() % 20'000);
  file.verify();
  EXPECT_TRUE(file.log->dirty());
  file.log->sync();
  EXPECT_FALSE(file.log->dirty());
  const std::uint64_t size = file.log->size();
  file.log.reset();
  test.activate();
  file.open();
  EXPECT_EQ(file.log->size(), size);
  file.verify();
  for (int i = 0; i < 30; ++i)
    file.append(random() % 20'000);
  file.verify();
}

TEST(Log, ReadsAtAnyOffset) {
  TestPool test(64);
  LogFile file(test);
  std::mt19937 random(2);
  while (file.chain.size() < 4)
    file.append(random() % 9 == 0 ? random() % 100'000 : random() % 300);
  file.log->sync();
  const auto expected = content(0, file.log->size());
  for (int i = 0; i < 3000; ++i) {
    const std::uint64_t offset = random() % (expected.size() + 100);
    std::vector<std::byte> into(random() % 50'000);
    const std::size_t length =
        std::min<std::uint64_t>(into.size(), expected.size() - std::min(expected.size(), offset));
    ASSERT_EQ(file.log->read(offset, into), length);
    ASSERT_SAME_BYTES(std::span(into).first(length), content(offset, length)) << offset;
    if (i % 1000 == 0) file.open();
  }
}

TEST(Log, RandomReadsCostOneIndexInterval) {
  TestPool test(64, 8u << 20);
  std::vector<ObjectId> ids;
  const ObjectRecord mlog = test.pool->allocate(ObjectType::mlog, 8u << 20, {});
  test.pool->commit(std::span(&mlog, 1));
  ids.push_back(mlog.id);
  LogFile file(test, ids);
  for (int i = 0; i < 6000; ++i)
    file.append(1000);
  file.log->sync();
  file.open();
  std::vector<std::byte> into(100);
  file.log->read(5'900'000, into);  // builds the index
  std::mt19937 random(3);
  const auto before = test.device->counters().read_bytes;
  for (int i = 0; i < 50; ++i) {
    const std::uint64_t offset = random() % 5'900'000;
    ASSERT_EQ(file.log->read(offset, into), into.size());
    ASSERT_SAME_BYTES(into, content(offset, into.size()));
  }
  // A rescan from the start would read 3 MB on average.
  EXPECT_LT((test.device->counters().read_bytes - before) / 50, 1'300'000u);
}

TEST(Log, RecordsOfNoBytes) {
  TestPool test(32);
  LogFile file(test);
  file.append(0);
  file.append(10);
  file.append(0);
  file.append(0);
  file.append(5);
  file.verify();
  std::byte byte;
  EXPECT_EQ(file.log->read(10, {&byte, 1}), 1u);
  EXPECT_EQ(byte, test::content_byte(10));
}

TEST(Log, RecordTooBig) {
  TestPool test(32);
  LogFile file(test);
  const auto huge = content(0, TestPool::kZoneSize);
  EXPECT_EQ(error_of([&] { file.log->append(huge); }), EFBIG);
  EXPECT_EQ(error_of([&] { file.log->append(huge); }), EFBIG);
  EXPECT_EQ(file.chain.size(), 1u);  // not one more for each attempt
  file.append(100'000);
  EXPECT_EQ(error_of([&] { file.log->append(huge); }), EFBIG);
  file.append(200'000);
  file.verify();
}

TEST(Log, NoSpaceForAnotherMlog) {
  TestPool test(32);
  LogFile file(test);
  file.additions_left = 1;
  file.append(200'000);
  const std::uint64_t size = file.log->size();
  EXPECT_EQ(error_of([&] { file.log->append(content(size, 100'000)); }), ENOSPC);
  EXPECT_EQ(file.log->size(), size);
  file.append(1000);  // still fits
  file.additions_left = 1;
  file.append(100'000);
  EXPECT_EQ(file.chain.size(), 2u);
  file.verify();
}

TEST(Log, UnknownMlogs) {
  TestPool test(32);
  LogFile file(test);
  file.append(10);
  file.log->sync();
  const auto open = [&](ObjectId id) {
    std::vector<Extent> mlogs = file.extents();
    mlogs.push_back({.file_offset = 10, .object = id});
    References references(*test.pool, References::Deletes::at_once);
    Log log(references, mlogs, 20, nullptr);
    EXPECT_NE(log.damage(), "");
    EXPECT_EQ(log.size(), 10u);
    EXPECT_EQ(log.known_size(), 20u);
    std::vector<std::byte> into(15);
    EXPECT_EQ(log.read(0, into), 10u);
    EXPECT_SAME_BYTES(std::span(into).first(10), content(0, 10));
    EXPECT_EQ(error_of([&] { log.read(10, into); }), EIO);
    EXPECT_EQ(error_of([&] { log.append(into); }), EIO);
  };
  open(ObjectId::make(77, ObjectType::mlog, 1));
  open(ObjectId::make(77, ObjectType::mblock, 1));
  const ObjectRecord mblock = test.pool->allocate(ObjectType::mblock, 0, {});
  test.pool->commit(std::span(&mblock, 1));
  open(mblock.id);
  test.pool->remove(std::span(&mblock.id, 1));  // left no pin behind
  file.log.reset();
  test.pool->remove(file.chain);
}

TEST(Log, AnEndThatIsLostIsDamage) {
  TestPool test(32);
  LogFile file(test);
  file.append(1000);
  file.log->sync();
  file.least_size = 1001;
  file.open();
  EXPECT_NE(file.log->damage().find("(byte "), std::string::npos) << file.log->damage();
  EXPECT_EQ(file.log->size(), 1000u);
  EXPECT_EQ(file.log->known_size(), 1001u);
  std::vector<std::byte> into(2000);
  EXPECT_EQ(file.log->read(0, into), 1000u);
  EXPECT_EQ(error_of([&] { file.log->read(1000, into); }), EIO);
  EXPECT_EQ(error_of([&] { file.log->append(into); }), EIO);
  file.least_size = 1000;
  file.open();
  EXPECT_EQ(file.log->damage(), "");
  file.append(1);
}

// The chain continues with another mlog: its content is not treated as the lost content.
TEST(Log, AnMlogThatIsShorterThanItWasIsDamaged) {
  TestPool test(32);
  LogFile file(test);
  for (int i = 0; i < 9; ++i)
    file.append(50'000);
  file.log->sync();
  ASSERT_GE(file.chain.size(), 2u);
  file.log.reset();
  const std::uint64_t first = test.pool->offset_of(*test.pool->find(file.chain[0]));
  test.media->write(first, std::vector<std::byte>(TestPool::kZoneSize));
  file.open();
  EXPECT_EQ(file.log->size(), 450'000u);
  std::byte byte{};
  EXPECT_EQ(error_of([&] { file.log->read(0, {&byte, 1}); }, "the block is damaged"), EIO);
  EXPECT_NE(file.log->damage(), "");
  EXPECT_EQ(file.log->readable_size(), 0u);
  EXPECT_EQ(error_of([&] { file.log->append(content(450'000, 1)); }), EIO);
  // What the next mlog has is there.
  std::vector<std::byte> into(1000);
  ASSERT_EQ(file.log->read(file.starts[1], into), into.size());
  EXPECT_SAME_BYTES(into, content(file.starts[1], into.size()));
}

TEST(Log, AnMlogBeforeTheLastIsOpenedWhenItIsRead) {
  TestPool test(64);
  LogFile file(test);
  while (file.chain.size() < 4)
    file.append(60'000);
  file.log->sync();
  const auto read_bytes = [&] { return test.device->counters().read_bytes; };
  const std::uint64_t before = read_bytes();
  file.open();
  file.append(1000);
  EXPECT_LE(read_bytes() - before, TestPool::kZoneSize);
  file.verify();
  EXPECT_GT(read_bytes() - before, 3 * TestPool::kZoneSize);
}

// A block that was intact when the log was opened.
TEST(Log, ABlockThatGoesBadLeavesWhatLiesBeforeIt) {
  TestPool test(32);
  LogFile file(test);
  for (int i = 0; i < 20; ++i)
    file.append(10'000);
  file.log->sync();
  file.open();
  const std::uint64_t at = test.pool->offset_of(*test.pool->find(file.chain[0])) + 150'000;
  std::vector<std::byte> page(kPageSize);
  test.media->write(round_down(at, kPageSize), page);
  std::vector<std::byte> into(file.log->size());
  const std::size_t length = file.log->read(0, into);
  EXPECT_GE(length, 10'000u);
  EXPECT_LT(length, 150'000u);
  EXPECT_SAME_BYTES(std::span(into).first(length), content(0, length));
  EXPECT_EQ(error_of([&] { file.log->read(length, into); }), EIO);
}

TEST(Log, MlogsArePinned) {
  TestPool test(32);
  LogFile file(test);
  file.append(200'000);
  file.append(200'000);
  ASSERT_EQ(file.chain.size(), 2u);
  for (const ObjectId id : file.chain) {
    EXPECT_EQ(error_of([&] { test.pool->remove(std::span(&id, 1)); }), EBUSY);
  }
  file.log.reset();
  test.pool->remove(file.chain);
}

TEST(Log, FailedFlushIsReported) {
  TestPool test(32);
  LogFile file(test);
  file.append(1000);
  file.log->sync();
  file.append(1000);
  test.fail_write(1);
  EXPECT_EQ(error_of([&] { file.log->sync(); }), EIO);
  EXPECT_TRUE(file.log->dirty());
  EXPECT_EQ(error_of([&] { file.log->append(content(2000, 10)); }), EIO);
  std::vector<std::byte> into(1000);
  EXPECT_EQ(file.log->read(0, into), 1000u);  // the remaining content can still be read
  EXPECT_SAME_BYTES(into, content(0, 1000));
}

// The state of a log after a crash: a prefix, complete records, at least `durable` bytes.
void expect_prefix(const std::shared_ptr<SimulatedMedia>& media, const std::vector<ObjectId>& chain,
                   const std::vector<std::uint64_t>& ends, std::uint64_t durable) {
  TestPool after(media);
  LogFile found(after, chain);
  found.verify();
  EXPECT_GE(found.log->size(), durable);
  EXPECT_TRUE(std::binary_search(ends.begin(), ends.end(), found.log->size()));
}

TEST(Log, CrashLeavesAPrefixWithAllThatWasSynced) {
  for (unsigned seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    TestPool test(64);
    LogFile file(test);
    std::vector<std::uint64_t> ends{0};
    std::uint64_t durable = 0;
    for (int i = 0; i < 80; ++i) {
      file.append(1 + random() % 15'000);
      ends.push_back(file.log->size());
      if (random() % 10 == 0) {
        file.log->sync();
        durable = file.log->size();
      }
      if (i % 8 == 0) expect_prefix(test.after_crash(), file.chain, ends, durable);
    }
    file.log->sync();
    expect_prefix(test.after_crash(), file.chain, ends, file.log->size());
  }
}

TEST(Log, FullMlogIsDurableBeforeTheNextBegins) {
  TestPool test(32);
  LogFile file(test);
  file.append(200'000);
  file.append(200'000);
  ASSERT_EQ(file.chain.size(), 2u);
  expect_prefix(test.after_crash(), file.chain, {200'000, 400'000}, 200'000);
}

TEST(Log, TailWhileAppending) {
  TestPool test(64);
  LogFile file(test);
  constexpr std::uint64_t kTotal = 1'500'000;
  std::atomic<bool> wrong = false;
  std::vector<std::thread> readers;
  for (unsigned t = 0; t < 3; ++t) {
    readers.emplace_back([&, t] {
      std::vector<std::byte> into(1000 + t * 30'000);
      for (std::uint64_t at = 0; at < kTotal && !wrong;) {
        const std::size_t length = file.log->read(at, into);
        const auto found = std::span(into).first(length);
        if (test::first_difference(found, content(at, length)) != std::string::npos) wrong = true;
        at += length;
        if (length == 0) std::this_thread::yield();
      }
    });
  }
  std::thread syncer([&] {
    while (file.log->size() < kTotal && !wrong) {
      file.log->sync();
      std::this_thread::yield();
    }
  });
  std::mt19937 random(7);
  while (file.log->size() < kTotal)
    file.append(1 + random() % 8000);
  for (auto& reader : readers)
    reader.join();
  syncer.join();
  EXPECT_FALSE(wrong);
  file.verify();
}

TEST(Log, AppendsOfSeveralThreadsNeverMix) {
  TestPool test(64);
  LogFile file(test);
  constexpr std::size_t kRecord = 1000;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const std::vector<std::byte> record(kRecord, static_cast<std::byte>(t + 1));
      for (int i = 0; i < 200; ++i) {
        file.log->append(record);
        if (i % 20 == 0) file.log->sync();
      }
    });
  }
  for (auto& thread : threads)
    thread.join();
  ASSERT_EQ(file.log->size(), 4 * 200 * kRecord);
  std::vector<std::byte> record(kRecord);
  for (std::uint64_t at = 0; at < file.log->size(); at += kRecord) {
    ASSERT_EQ(file.log->read(at, record), kRecord);
    ASSERT_EQ(std::count(record.begin(), record.end(), record[0]), kRecord);
  }
}

}  // namespace
}  // namespace mpool

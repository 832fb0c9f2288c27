// Appenders, syncers and readers at the same time; group commit.
#include <atomic>
#include <condition_variable>
#include <thread>

#include <gtest/gtest.h>

#include "engine/mlog/mlog.h"
#include "tests/engine/mlog/log_support.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kLargeCapacity = 32u << 20;
constexpr unsigned kAppenders = 3;
constexpr std::uint64_t kPerAppender = 1500;

// Record `number` of appender `who`: both in front, then bytes that follow from them.
Record signed_record(unsigned who, std::uint64_t number) {
  Record record = make_record(number * kAppenders + who, 12 + (number * 37 + who * 11) % 2500);
  store_le<std::uint32_t>(record, 0, who);
  store_le<std::uint64_t>(record, 4, number);
  return record;
}

// Takes records in log order and checks that those of each appender are complete and in order.
class OrderCheck {
 public:
  void take(const Record& record) {
    const auto who = load_le<std::uint32_t>(record, 0);
    ASSERT_LT(who, kAppenders);
    ASSERT_EQ(record, signed_record(who, next_[who]));
    ++next_[who];
  }
  bool complete() const {
    return std::ranges::all_of(next_, [](auto next) { return next == kPerAppender; });
  }

 private:
  std::array<std::uint64_t, kAppenders> next_{};
};

class MlogThreads : public testing::TestWithParam<std::uint32_t> {
 protected:
  MlogLocation location() { return location_on(device_, GetParam(), kLargeCapacity); }
  FakeDevice device_{kLogOffset + kLargeCapacity};
};

TEST_P(MlogThreads, AppendersSyncersAndReaders) {
  const auto log = open_plain(location());
  std::vector<std::jthread> threads;
  for (unsigned who = 0; who < kAppenders; ++who) {
    threads.emplace_back([&, who] {
      for (std::uint64_t number = 0; number < kPerAppender; ++number) {
        const auto ticket = log->append(signed_record(who, number));
        if (number % (1 + 10 * who) == 0) log->sync(ticket);
      }
    });
  }
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      OrderCheck order;
      MlogReader reader(*log);
      Record record;
      while (!order.complete() && !HasFatalFailure()) {
        if (reader.next(record)) {
          order.take(record);
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  threads.clear();
  log->sync();
  OrderCheck order;
  for (const Record& record : read_all(*open_plain(location())))
    order.take(record);
  EXPECT_TRUE(order.complete());
}

TEST_P(MlogThreads, ReadersBesideRecordsLargerThanTheBuffer) {
  const auto log = open_plain(location());
  constexpr std::uint64_t kRecords = 12;
  const auto large = [](std::uint64_t number) { return make_record(number, 2300000 + number); };
  std::jthread appender([&] {
    for (std::uint64_t number = 0; number < kRecords; ++number)
      log->append(large(number));
  });
  MlogReader reader(*log);
  Record record;
  for (std::uint64_t number = 0; number < kRecords;) {
    if (!reader.next(record)) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(record, large(number));
    ++number;
  }
}

// Blocks the device inside flush() until it is opened.
class Gate {
 public:
  explicit Gate(FakeDevice& device) {
    device.before_flush = [this] { pass(); };
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait_until_reached() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return reached_; });
  }
  std::atomic<bool> fail = false;

 private:
  void pass() {
    std::unique_lock lock(mutex_);
    reached_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
    if (fail) raise(EIO, "fake", "no flush");
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool reached_ = false;
  bool open_ = false;
};

TEST_P(MlogThreads, SyncsShareTheNextFlush) {
  const auto log = open_plain(location());
  Gate gate(device_);
  std::jthread first([&] { log->sync(log->append(make_record(0, 10))); });
  gate.wait_until_reached();
  // During the first flush further threads append: one more flush serves all of them.
  std::vector<Mlog::Ticket> tickets;
  for (std::uint64_t number = 1; number <= 20; ++number) {
    tickets.push_back(log->append(make_record(number, 10 * number)));
  }
  std::vector<std::jthread> others;
  for (const Mlog::Ticket ticket : tickets) {
    others.emplace_back([&, ticket] { log->sync(ticket); });
  }
  EXPECT_EQ(read_all(*log).size(), 21u) << "what is in flight and what waits is readable";
  gate.open();
  first.join();
  others.clear();
  EXPECT_EQ(device_.counters().flushes, 2u);
  EXPECT_EQ(device_.counters().writes, 2u);
  log->sync(tickets.front());
  log->sync();
  EXPECT_EQ(device_.counters().flushes, 2u) << "all was durable";
  EXPECT_EQ(read_all(*open_plain(location())).size(), 21u);
}

TEST_P(MlogThreads, FailedFlushFailsAllWhoWait) {
  const auto log = open_plain(location());
  Gate gate(device_);
  gate.fail = true;
  std::atomic<int> failed = 0;
  const auto sync_fails = [&](Mlog::Ticket ticket) {
    if (error_of([&] { log->sync(ticket); }) == EIO) ++failed;
  };
  std::jthread first([&] { sync_fails(log->append(make_record(0, 10))); });
  gate.wait_until_reached();
  std::vector<std::jthread> others;
  for (std::uint64_t number = 1; number <= 5; ++number) {
    const auto ticket = log->append(make_record(number, 10));
    others.emplace_back([&, ticket] { sync_fails(ticket); });
  }
  gate.open();
  first.join();
  others.clear();
  EXPECT_EQ(failed, 6);
  EXPECT_EQ(read_all(*log).size(), 6u);
}

INSTANTIATE_TEST_SUITE_P(Sectors, MlogThreads, testing::Values(512u, 4096u));

}  // namespace
}  // namespace mpool::test

#include "fuse/runtime/reactor.h"

#include <atomic>
#include <functional>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fuse/reactor_config.h"

namespace mpoolfs {
namespace {

struct FunctionOperation final : mpool::RingOperation {
  explicit FunctionOperation(std::function<void(std::int32_t)> what) : work(std::move(what)) {}
  void completed(std::int32_t result) noexcept override { work(result); }
  std::function<void(std::int32_t)> work;
};

class ReactorTest : public testing::Test {
 protected:
  ~ReactorTest() override {
    reactor_.stop();
    reactor_.join();
    EXPECT_EQ(failure_, "");
  }

  void start() {
    reactor_.start([this](const std::string& why) { failure_ = why; });
  }

  Reactor reactor_{test::reactor_config()};
  std::string failure_;
};

TEST_F(ReactorTest, RunsWhatIsPostedOnItsThread) {
  start();
  std::promise<std::pair<std::int32_t, std::thread::id>> ran;
  FunctionOperation operation([&](std::int32_t result) {
    ran.set_value({result, std::this_thread::get_id()});
  });
  reactor_.post(operation, 42);
  const auto [result, thread] = ran.get_future().get();
  EXPECT_EQ(result, 42);
  EXPECT_NE(thread, std::this_thread::get_id());
}

TEST_F(ReactorTest, WhatIsPostedBeforeTheStartRunsToo) {
  std::promise<void> ran;
  FunctionOperation operation([&](std::int32_t) { ran.set_value(); });
  reactor_.post(operation, 0);
  start();
  ran.get_future().wait();
}

TEST_F(ReactorTest, EndsWhenTheLastRequestReturnsAfterTheStop) {
  start();
  std::promise<void> begun;
  FunctionOperation begin([&](std::int32_t) {
    reactor_.work_started();
    begun.set_value();
  });
  FunctionOperation end([&](std::int32_t) { reactor_.work_ended(); });
  reactor_.post(begin, 0);
  begun.get_future().wait();
  reactor_.stop();
  reactor_.post(end, 0);
  reactor_.join();
}

TEST_F(ReactorTest, AbandonsWhatIsPostedAfterItsEnd) {
  struct Abandoned final : mpool::RingOperation {
    void completed(std::int32_t) noexcept override { ADD_FAILURE() << "there is no thread"; }
    void abandoned() noexcept override { ++count; }
    int count = 0;
  };
  Abandoned operation;
  start();
  reactor_.stop();
  reactor_.join();
  reactor_.post(operation, 0);
  EXPECT_EQ(operation.count, 1);
}

TEST_F(ReactorTest, LosesNothingThatManyThreadsPost) {
  constexpr int kThreads = 4;
  constexpr int kPosts = 5000;
  start();
  std::atomic<int> ran = 0;
  std::promise<void> all;
  FunctionOperation operation([&](std::int32_t) {
    if (++ran == kThreads * kPosts) all.set_value();
  });
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < kPosts; ++j)
        reactor_.post(operation, j);
    });
  }
  all.get_future().wait();
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_EQ(ran, kThreads * kPosts);
}

TEST_F(ReactorTest, OperationsOnTheRingComplete) {
  start();
  std::promise<std::int32_t> result;
  FunctionOperation nop([&](std::int32_t value) { result.set_value(value); });
  FunctionOperation starter(
      [&](std::int32_t) { io_uring_prep_nop(&reactor_.ring().prepare(nop)); });
  reactor_.post(starter, 0);
  EXPECT_EQ(result.get_future().get(), 0);
}

TEST_F(ReactorTest, EndsOnlyWhenWorkIsDone) {
  start();
  std::promise<void> started;
  std::promise<void> ended;
  FunctionOperation end([&](std::int32_t) {
    reactor_.work_ended();
    ended.set_value();
  });
  FunctionOperation begin([&](std::int32_t) {
    reactor_.work_started();
    started.set_value();
  });
  reactor_.post(begin, 0);
  started.get_future().wait();
  reactor_.stop();
  reactor_.post(end, 0);
  // Never ready if the thread had ended with the stop.
  ended.get_future().wait();
}

// An exception that a completion cannot throw ends the thread, which could serve no request any
// more.
TEST(ReactorFailure, EndsTheThreadWithItsReason) {
  Reactor reactor(test::reactor_config());
  std::promise<std::string> failed;
  reactor.start([&](const std::string& why) { failed.set_value(why); });
  FunctionOperation first([&](std::int32_t) { reactor.fail(std::runtime_error("first")); });
  FunctionOperation second([&](std::int32_t) { reactor.fail(std::runtime_error("second")); });
  reactor.post(first, 0);
  reactor.post(second, 0);
  EXPECT_NE(failed.get_future().get().find("first"), std::string::npos);
  reactor.join();
}

// Transfers that never complete do not delay it.
TEST(ReactorFailure, IsToldAlthoughATransferIsUnderWay) {
  Reactor reactor(test::reactor_config());
  std::promise<void> failed;
  reactor.start([&](const std::string&) { failed.set_value(); });
  FunctionOperation operation([&](std::int32_t) {
    reactor.work_started();
    reactor.fail(std::runtime_error("failed"));
  });
  reactor.post(operation, 0);
  failed.get_future().wait();
  reactor.join();
}

TEST_F(ReactorTest, TellsThatItIsIdle) {
  std::promise<void> idle;
  std::atomic<int> calls = 0;
  reactor_.on_idle([&] {
    if (++calls == 1) idle.set_value();
  });
  start();
  FunctionOperation work([](std::int32_t) {});
  reactor_.post(work, 0);
  idle.get_future().wait();
  EXPECT_GE(calls, 1);
}

TEST(SpinBudget, GivesUpWhatNeverPays) {
  SpinBudget budget(32, 64);
  int tries = 0;
  for (int i = 0; i < 10000; ++i) {
    if (!budget.should_spin()) continue;
    ++tries;
    budget.record_result(false);
  }
  // It checks occasionally whether that has changed.
  EXPECT_LT(tries, 300);
  EXPECT_GT(tries, 32);
}

TEST(SpinBudget, LooksAsRarelyAsItIsTold) {
  SpinBudget budget(32, 1000);
  int tries = 0;
  for (int i = 0; i < 10000; ++i) {
    if (!budget.should_spin()) continue;
    ++tries;
    budget.record_result(false);
  }
  EXPECT_GT(tries, 32);
  EXPECT_LE(tries, 32 + 10);
}

TEST(SpinBudget, GoesOnWithWhatPays) {
  SpinBudget budget(32, 64);
  for (int i = 0; i < 10000; ++i) {
    ASSERT_TRUE(budget.should_spin());
    budget.record_result(i % 3 != 0);
  }
}

TEST(SpinBudget, ComesBack) {
  SpinBudget budget(32, 64);
  for (int i = 0; i < 1000; ++i) {
    if (budget.should_spin()) budget.record_result(false);
  }
  int tries = 0;
  for (int i = 0; i < 1000; ++i) {
    if (!budget.should_spin()) continue;
    ++tries;
    budget.record_result(true);
  }
  EXPECT_GT(tries, 900);
}

}  // namespace
}  // namespace mpoolfs

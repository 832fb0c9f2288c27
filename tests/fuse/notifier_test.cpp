#include "fuse/ops/notifier.h"

#include <atomic>
#include <future>
#include <stdexcept>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mpoolfs {
namespace {

TEST(Notifier, RunsTasksInOrderOnAnotherThread) {
  Notifier notifier(nullptr);
  std::vector<int> done;
  std::promise<std::thread::id> thread;
  for (int task = 0; task < 100; ++task)
    notifier.post([&done, task] { done.push_back(task); });
  notifier.post([&] { thread.set_value(std::this_thread::get_id()); });
  EXPECT_NE(thread.get_future().get(), std::this_thread::get_id());
  ASSERT_EQ(done.size(), 100u);
  for (int task = 0; task < 100; ++task)
    EXPECT_EQ(done[static_cast<std::size_t>(task)], task);
}

TEST(Notifier, SurvivesAFailingTask) {
  Notifier notifier(nullptr);
  std::promise<void> after;
  notifier.post([] { throw std::runtime_error("expected by the test"); });
  notifier.post([&] { after.set_value(); });
  after.get_future().get();
}

TEST(Notifier, TakesNothingAfterTheEnd) {
  std::atomic<bool> ran = false;
  Notifier notifier(nullptr);
  notifier.finish();
  notifier.post([&] { ran = true; });
  notifier.finish();
  notifier.join();
  EXPECT_FALSE(ran);
}

TEST(Notifier, DropsWhatIsQueuedAtTheEnd) {
  std::atomic<bool> ran = false;
  std::promise<void> entered, leave;
  {
    Notifier notifier(nullptr);
    notifier.post([&] {
      entered.set_value();
      leave.get_future().get();
    });
    entered.get_future().get();
    notifier.post([&] { ran = true; });
    std::thread ending([&] { notifier.finish(); });
    ending.join();  // gives up waiting for the task under way
    leave.set_value();
  }
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace mpoolfs

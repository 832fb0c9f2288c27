#include "fuse/runtime/worker_pool.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

namespace mpoolfs {
namespace {

struct FunctionJob final : WorkerPool::Job {
  explicit FunctionJob(std::function<void()> what) : work(std::move(what)) {}
  void run() noexcept override { work(); }
  std::function<void()> work;
};

TEST(WorkerPool, DoesEveryJobOnce) {
  constexpr int kJobs = 1000;
  std::atomic<int> done = 0;
  std::deque<FunctionJob> jobs;
  {
    WorkerPool pool(4);
    for (int i = 0; i < kJobs; ++i)
      pool.post(jobs.emplace_back([&] { ++done; }));
  }
  EXPECT_EQ(done, kJobs);
}

TEST(WorkerPool, DoesNotWorkOnTheCallersThread) {
  std::promise<std::thread::id> worker;
  FunctionJob job([&] { worker.set_value(std::this_thread::get_id()); });
  WorkerPool pool(1);
  pool.post(job);
  EXPECT_NE(worker.get_future().get(), std::this_thread::get_id());
}

TEST(WorkerPool, NeverWorksWithMoreThreadsThanAllowed) {
  constexpr unsigned kLimit = 3;
  std::atomic<unsigned> running = 0;
  std::atomic<unsigned> most = 0;
  std::deque<FunctionJob> jobs;
  {
    WorkerPool pool(kLimit);
    for (int i = 0; i < 200; ++i) {
      pool.post(jobs.emplace_back([&] {
        const unsigned now = ++running;
        unsigned before = most;
        while (before < now && !most.compare_exchange_weak(before, now)) {
        }
        std::this_thread::yield();
        --running;
      }));
    }
  }
  EXPECT_LE(most, kLimit);
  EXPECT_GE(most, 1u);
}

TEST(WorkerPool, WorksWithSeveralThreads) {
  // Each waits for the others: a single thread would never finish.
  constexpr unsigned kJobs = 4;
  std::mutex mutex;
  std::condition_variable changed;
  unsigned arrived = 0;
  std::deque<FunctionJob> jobs;
  WorkerPool pool(kJobs);
  for (unsigned i = 0; i < kJobs; ++i) {
    pool.post(jobs.emplace_back([&] {
      std::unique_lock lock(mutex);
      ++arrived;
      changed.notify_all();
      changed.wait(lock, [&] { return arrived == kJobs; });
    }));
  }
  pool.finish();
  EXPECT_EQ(arrived, kJobs);
}

TEST(WorkerPool, FinishDoesWhatIsQueued) {
  std::promise<void> go;
  std::atomic<int> done = 0;
  FunctionJob first([&] {
    go.get_future().wait();
    ++done;
  });
  FunctionJob second([&] { ++done; });
  WorkerPool pool(1);
  pool.post(first);
  pool.post(second);
  go.set_value();
  pool.finish();
  EXPECT_EQ(done, 2);
}

}  // namespace
}  // namespace mpoolfs

#include "fuse/ops/notifier.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <future>
#include <initializer_list>
#include <mutex>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <sys/uio.h>

#include "tests/support/stepped_clock.h"

namespace mpoolfs {
namespace {

// A session that knows the kernel's INIT, and records the messages to the kernel.
class FakeMount {
 public:
  FakeMount() {
    char name[] = "test";
    char* argv[] = {name, nullptr};
    fuse_args args = FUSE_ARGS_INIT(1, argv);
    const fuse_lowlevel_ops operations{};
    session_ = fuse_session_new(&args, &operations, sizeof operations, this);
    fuse_opt_free_args(&args);
    current = this;
    const fuse_custom_io io{.writev = take,
                            .read = [](int, void*, std::size_t, void*) -> ssize_t { return -1; },
                            .splice_receive = nullptr,
                            .splice_send = nullptr};
    EXPECT_EQ(fuse_session_custom_io(session_, &io, 0), 0);
    struct {
      fuse_in_header header;
      fuse_init_in init;
    } message{};
    message.header.len = sizeof message;
    message.header.opcode = FUSE_INIT;
    message.header.unique = 1;
    message.init.major = FUSE_KERNEL_VERSION;
    message.init.minor = FUSE_KERNEL_MINOR_VERSION;
    message.init.max_readahead = 1u << 20;
    fuse_buf buffer{};
    buffer.size = sizeof message;
    buffer.mem = &message;
    fuse_session_process_buf(session_, &buffer);
  }
  ~FakeMount() { fuse_session_destroy(session_); }
  FakeMount(const FakeMount&) = delete;
  FakeMount& operator=(const FakeMount&) = delete;

  fuse_session* session() { return session_; }
  // Inodes whose attributes the kernel was told to drop, once all of these are among them.
  std::vector<std::uint64_t> forgotten_with(std::initializer_list<std::uint64_t> inodes) {
    std::unique_lock lock(mutex_);
    const auto all_told = [&] {
      return std::ranges::all_of(inodes, [&](std::uint64_t inode) {
        return std::ranges::find(forgotten_, inode) != forgotten_.end();
      });
    };
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::minutes(1), all_told));
    return forgotten_;
  }

 private:
  static ssize_t take(int, iovec* parts, int count, void*) {
    fuse_out_header header{};
    std::memcpy(&header, parts[0].iov_base, sizeof header);
    if (header.unique == 0 && header.error == FUSE_NOTIFY_INVAL_INODE && count == 2) {
      fuse_notify_inval_inode_out body{};
      std::memcpy(&body, parts[1].iov_base, sizeof body);
      EXPECT_LT(body.off, 0) << "the pages stay";
      const std::lock_guard lock(current->mutex_);
      current->forgotten_.push_back(body.ino);
      current->changed_.notify_all();
    }
    return header.len;
  }

  static inline FakeMount* current = nullptr;
  fuse_session* session_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::uint64_t> forgotten_;
};

TEST(Notifier, TellsOfADirectoryOnceForManyChanges) {
  constexpr int kChanges = 1000;
  FakeMount mount;
  mpool::test::SteppedClock clock;
  Notifier notifier(mount.session(), {}, clock);
  for (int change = 0; change < kChanges; ++change) {
    notifier.entries_changed(5);
    notifier.entries_changed(6);
  }
  notifier.entries_changed(7);
  clock.await_wait(Notifier::kDirectoryTime);
  clock.advance(Notifier::kDirectoryTime);
  EXPECT_EQ(mount.forgotten_with({5, 6, 7}).size(), 3u);
}

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
  mpool::test::SteppedClock clock;
  {
    Notifier notifier(nullptr, {}, clock);
    notifier.post([&] {
      entered.set_value();
      leave.get_future().get();
    });
    entered.get_future().get();
    notifier.post([&] { ran = true; });
    std::thread ending([&] { notifier.finish(); });
    clock.await_wait(std::chrono::milliseconds(1));
    clock.advance(std::chrono::hours(1));
    ending.join();  // stops waiting for the task in progress
    leave.set_value();
  }
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace mpoolfs

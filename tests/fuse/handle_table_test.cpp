#include "fuse/ops/handle_table.h"

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "tests/fuse/idle_file.h"

namespace mpoolfs {
namespace {

using mpool::FileKind;
using testing::ElementsAre;
using namespace std::chrono_literals;

// Longer than any test should take: waits end because of their condition.
constexpr std::chrono::milliseconds kLong{60'000};

// Processes that have a file open.
constexpr std::uint64_t kOwner = 7;
constexpr std::uint64_t kChild = 8;

// A blocking call on a thread of its own.
class Waiting {
 public:
  explicit Waiting(std::function<void()> work)
      : thread_([this, work = std::move(work)] {
          work();
          done_ = true;
        }) {}
  ~Waiting() { join(); }

  // True if the call returned within a time that suffices for it.
  bool soon() const {
    std::this_thread::sleep_for(20ms);
    return done_;
  }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::atomic<bool> done_ = false;
  std::thread thread_;
};

// A device that blocks until the test releases it.
class Device {
 public:
  void stall() {
    const std::lock_guard lock(mutex_);
    stalled_ = true;
  }
  void go_on() {
    const std::lock_guard lock(mutex_);
    stalled_ = false;
    changed_.notify_all();
  }
  bool stalled() {
    const std::lock_guard lock(mutex_);
    return stalled_;
  }
  void use() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !stalled_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stalled_ = false;
};

// Reports its close. Closes and flushes wait for the device.
class FakeFile final : public test::IdleFile {
 public:
  FakeFile(mpool::InodeNumber inode, FileKind kind, std::vector<mpool::InodeNumber>& closed,
           Device& device)
      : IdleFile(inode, kind), closed_(closed), device_(device) {}

  void flush() override { device_.use(); }
  bool flush_now() override { return !device_.stalled(); }
  void close() noexcept override {
    device_.use();
    closed_.push_back(inode());
  }

 private:
  std::vector<mpool::InodeNumber>& closed_;
  Device& device_;
};

class HandleTableTest : public testing::Test {
 protected:
  KernelHandle& open(mpool::InodeNumber inode, bool write, FileKind kind = FileKind::write_once,
                     pid_t process = 0) {
    return files_.add(std::make_unique<FakeFile>(inode, kind, closed_, device_),
                      {.read = !write, .write = write, .append = kind == FileKind::log}, process);
  }

  Device device_;
  std::vector<mpool::InodeNumber> closed_;
  HandleTable files_{kLong};
};

TEST_F(HandleTableTest, KeepsWhatWasOpened) {
  KernelHandle& handle = open(5, true, FileKind::log);
  EXPECT_EQ(handle.file().inode(), 5u);
  EXPECT_TRUE(handle.append());
  EXPECT_FALSE(open(6, true).append());
  EXPECT_EQ(files_.count(), 2u);
}

TEST_F(HandleTableTest, ClosesOnce) {
  open(1, true);
  KernelHandle& second = open(2, false);
  files_.close(second);
  EXPECT_THAT(closed_, ElementsAre(2));
  EXPECT_EQ(files_.count(), 1u);
}

TEST_F(HandleTableTest, ClosesTheRestInOrder) {
  open(3, true);
  KernelHandle& middle = open(1, false);
  open(2, true);
  open(3, false);
  files_.close(middle);
  files_.close_all();
  EXPECT_THAT(closed_, ElementsAre(1, 3, 2, 3));
  EXPECT_EQ(files_.count(), 0u);
}

TEST_F(HandleTableTest, NothingToSettle) {
  files_.settle(1);
  open(1, true);  // being written
  files_.flush(open(2, false), kOwner);
  files_.flush(open(3, true, FileKind::log), kOwner);
  for (const mpool::InodeNumber inode : {1u, 2u, 3u})
    files_.settle(inode);
  files_.settle_earlier();
}

TEST_F(HandleTableTest, WritingGoesOnAfterAFlush) {
  KernelHandle& handle = open(1, true);
  files_.flush(handle, kOwner);
  files_.note_write(handle, kOwner);
  files_.settle(1);
  files_.settle_earlier();
}

TEST_F(HandleTableTest, ChildrenOfTheWriterCloseWhatTheyInherited) {
  KernelHandle& handle = open(1, true);
  files_.note_write(handle, kOwner);
  files_.flush(handle, kChild);
  files_.note_write(handle, kChild);  // another process that also writes
  files_.flush(handle, kChild);
  files_.settle(1);
  EXPECT_TRUE(files_.settled());

  files_.flush(handle, kOwner);
  EXPECT_FALSE(files_.settled());
  files_.note_write(handle, kChild);  // the first writer was not the last one
  files_.settle(1);
  files_.flush(handle, kOwner);
  EXPECT_TRUE(files_.settled());
  files_.flush(handle, kChild);
  Waiting settled([&] { files_.settle(1); });
  EXPECT_FALSE(settled.soon());
  files_.close(handle);
}

TEST_F(HandleTableTest, WritersWithoutANumberAreNobody) {
  KernelHandle& handle = open(1, true);
  files_.note_write(handle, 0);
  files_.flush(handle, kChild);
  EXPECT_FALSE(files_.settled());
  files_.close(handle);
}

TEST_F(HandleTableTest, WaitsForTheCloseAfterAFlush) {
  KernelHandle& handle = open(1, true);
  files_.flush(handle, kOwner);
  files_.flush(handle, kOwner);
  Waiting settled([&] { files_.settle(1); });
  EXPECT_FALSE(settled.soon());
  files_.settle(2);
  files_.close(handle);
}

TEST_F(HandleTableTest, WaitsForAWriteAfterAFlush) {
  KernelHandle& handle = open(1, true);
  files_.flush(handle, kOwner);
  Waiting settled([&] { files_.settle(1); });
  EXPECT_FALSE(settled.soon());
  files_.note_write(handle, kOwner);
}

TEST_F(HandleTableTest, WaitsForAllClosesBefore) {
  open(1, true);
  KernelHandle& second = open(2, true);
  KernelHandle& third = open(3, true);
  files_.flush(second, kOwner);
  files_.flush(third, kOwner);
  Waiting settled([&] { files_.settle_earlier(); });
  EXPECT_FALSE(settled.soon());
  files_.flush(open(4, true), kOwner);  // later, so not waited for
  files_.close(second);
  EXPECT_FALSE(settled.soon());
  files_.close(third);
}

TEST_F(HandleTableTest, ClosesInTheOrderOfFlushes) {
  KernelHandle& first = open(1, true);
  KernelHandle& second = open(2, true);
  files_.flush(second, kOwner);
  files_.flush(first, kOwner);
  Waiting closed([&] { files_.close(first); });
  EXPECT_FALSE(closed.soon());
  files_.close(second);
  closed.join();
  EXPECT_THAT(closed_, ElementsAre(2, 1));
}

TEST_F(HandleTableTest, CloseNowKeepsTheOrderOfFlushes) {
  KernelHandle& first = open(1, true);
  KernelHandle& second = open(2, true);
  EXPECT_TRUE(files_.settled());
  files_.flush(second, kOwner);
  files_.flush(first, kOwner);
  EXPECT_FALSE(files_.settled());
  EXPECT_FALSE(files_.close_now(first));
  EXPECT_TRUE(files_.close_now(second));
  EXPECT_FALSE(files_.settled());
  EXPECT_TRUE(files_.close_now(first));
  EXPECT_TRUE(files_.settled());
  EXPECT_THAT(closed_, ElementsAre(2, 1));
}

// A request that waits for the first close does not wait for the next one, however often that
// happens.
TEST(HandleTableShared, AnotherFlushShowsThatTheFirstWasNotOfTheLastClose) {
  const std::vector<std::function<void(HandleTable&)>> ways{
      [](HandleTable& files) { files.settle_earlier(); },
      [](HandleTable& files) { files.settle(1); }};
  for (const auto& settle : ways) {
    Device device;
    std::vector<mpool::InodeNumber> closed;
    HandleTable files(std::chrono::hours(24));
    std::promise<void> waits;
    files.on_doubt([&](pid_t, mpool::InodeNumber) {
      waits.set_value();
      return false;
    });
    KernelHandle& handle =
        files.add(std::make_unique<FakeFile>(1, FileKind::write_once, closed, device),
                  {.read = false, .write = true, .append = false, .truncate = false});
    files.flush(handle, kOwner, 42);
    Waiting settled([&] { settle(files); });
    waits.get_future().wait();
    files.flush(handle, kChild);
    settled.join();
    EXPECT_FALSE(files.settled()) << "the next close may be the last";
    files.close(handle);
  }
}

TEST_F(HandleTableTest, AFlushAloneIsNoCommit) {
  KernelHandle& handle = open(1, true);
  files_.flush(handle, kOwner);
  EXPECT_FALSE(files_.settled());
  EXPECT_FALSE(files_.committing(1));
  files_.wait_for_commit(1);
}

// A process that closed a descriptor and has another one: detected after a moment, not after kLong.
TEST_F(HandleTableTest, ADuplicateOfTheSameProcessIsFound) {
  std::atomic<int> asked = 0;
  files_.on_doubt([&](pid_t process, mpool::InodeNumber inode) {
    ++asked;
    EXPECT_EQ(process, 42);
    EXPECT_EQ(inode, 1u);
    return true;
  });
  KernelHandle& handle = open(1, true);
  for (int round = 1; round <= 3; ++round) {
    files_.flush(handle, kOwner, 42);
    files_.settle_earlier();
    EXPECT_TRUE(files_.settled());
    EXPECT_EQ(asked, round);
  }
}

// A shell that has started a process that wrote and ended.
TEST_F(HandleTableTest, ADescriptorOfWhoOpenedItIsFound) {
  files_.on_doubt([&](pid_t process, mpool::InodeNumber) { return process == 41; });
  KernelHandle& handle = open(1, true, FileKind::write_once, 41);
  files_.note_write(handle, kChild);
  files_.flush(handle, kChild, 42);
  files_.settle_earlier();
  EXPECT_TRUE(files_.settled());
}

TEST_F(HandleTableTest, WithoutADuplicateTheReleaseIsWaitedFor) {
  std::atomic<int> asked = 0;
  files_.on_doubt([&](pid_t, mpool::InodeNumber) {
    ++asked;
    return false;
  });
  KernelHandle& handle = open(1, true);
  EXPECT_TRUE(files_.flush_now(handle, kOwner, 42));
  Waiting opened([&] { files_.settle(1); });
  while (asked == 0)
    std::this_thread::sleep_for(1ms);
  EXPECT_FALSE(opened.soon());
  files_.close(handle);
  opened.join();
  EXPECT_EQ(asked, 1);
}

// It has changed by the time of the answer.
TEST_F(HandleTableTest, ACloseWhileOneAsksCounts) {
  KernelHandle& handle = open(1, true);
  std::atomic<int> asked = 0;
  files_.on_doubt([&](pid_t, mpool::InodeNumber) {
    if (asked++ > 0) return false;
    files_.flush(handle, kOwner, 42);
    return true;
  });
  files_.flush(handle, kOwner, 42);
  files_.settle(1);  // only for earlier closes
  EXPECT_FALSE(files_.settled()) << "the answer was about an earlier close";
  Waiting opened([&] { files_.settle(1); });
  while (asked < 2)
    std::this_thread::sleep_for(1ms);
  EXPECT_FALSE(opened.soon());
  files_.close(handle);
}

TEST_F(HandleTableTest, AReleaseWhileOneAsksIsNoDuplicate) {
  KernelHandle& handle = open(1, true);
  files_.on_doubt([&](pid_t, mpool::InodeNumber) {
    files_.close(handle);
    return true;
  });
  files_.flush(handle, kOwner, 42);
  files_.settle(1);
  EXPECT_THAT(closed_, ElementsAre(1));
}

// Descriptors are treated as shared at once.
class ImpatientHandleTableTest : public testing::Test {
 protected:
  KernelHandle& open(mpool::InodeNumber inode) {
    return files_.add(std::make_unique<FakeFile>(inode, FileKind::write_once, closed_, device_),
                      {.read = false, .write = true, .append = false, .truncate = false});
  }

  Device device_;
  std::vector<mpool::InodeNumber> closed_;
  HandleTable files_{1ms};
};

TEST_F(ImpatientHandleTableTest, ADuplicatedDescriptorIsGivenUp) {
  KernelHandle& handle = open(1);
  files_.flush(handle, kOwner);
  files_.settle(1);
  EXPECT_TRUE(files_.settled());
  EXPECT_EQ(files_.count(), 1u);
}

TEST(HandleTableShared, IsWaitedForShortlyFromThenOn) {
  Device device;
  std::vector<mpool::InodeNumber> closed;
  HandleTable files(100ms);
  KernelHandle& handle =
      files.add(std::make_unique<FakeFile>(1, FileKind::write_once, closed, device),
                {.read = false, .write = true, .append = false, .truncate = false});
  const auto time_to_settle = [&] {
    files.flush(handle, kOwner);
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_FALSE(files.settled());
    files.settle(1);
    EXPECT_TRUE(files.settled());
    return std::chrono::steady_clock::now() - begin;
  };
  EXPECT_GE(time_to_settle(), 90ms);
  EXPECT_GE(time_to_settle(), 4ms);
}

TEST_F(ImpatientHandleTableTest, AFlushMayTakeLong) {
  KernelHandle& handle = open(1);
  device_.stall();
  EXPECT_FALSE(files_.flush_now(handle, kOwner));
  Waiting change([&] { files_.settle_earlier(); });
  EXPECT_FALSE(change.soon());
  Waiting flushed([&] { files_.flush(handle, kOwner); });
  EXPECT_FALSE(change.soon());
  device_.go_on();
  change.join();  // no RELEASE arrived
}

TEST_F(ImpatientHandleTableTest, ACommitMayTakeLong) {
  KernelHandle& handle = open(1);
  files_.flush(handle, kOwner);
  device_.stall();
  Waiting closed([&] { files_.close(handle); });
  EXPECT_FALSE(closed.soon());
  Waiting change([&] { files_.settle_earlier(); });
  Waiting opened([&] { files_.settle(1); });
  EXPECT_FALSE(change.soon());
  EXPECT_FALSE(opened.soon());
  EXPECT_TRUE(files_.committing(1));
  Waiting looked([&] { files_.wait_for_commit(1); });
  EXPECT_FALSE(looked.soon());
  device_.go_on();
}

TEST_F(ImpatientHandleTableTest, TheLastCloseOfASharedOneIsWaitedFor) {
  KernelHandle& handle = open(1);
  files_.flush(handle, kOwner);
  files_.settle(1);
  files_.flush(handle, kOwner);
  device_.stall();
  Waiting closed([&] { files_.close(handle); });
  EXPECT_FALSE(closed.soon());
  Waiting opened([&] { files_.settle(1); });
  EXPECT_FALSE(opened.soon());
  device_.go_on();
}

TEST_F(ImpatientHandleTableTest, WhatFailsToFlushIsClosingNevertheless) {
  class FailingFile final : public test::IdleFile {
   public:
    using IdleFile::IdleFile;
    void flush() override { throw mpool::Error(EIO, "test", "fails"); }
    bool flush_now() override { throw mpool::Error(EIO, "test", "fails"); }
  };
  KernelHandle& handle =
      files_.add(std::make_unique<FailingFile>(1),
                 {.read = false, .write = true, .append = false, .truncate = false});
  EXPECT_THROW(files_.flush_now(handle, kOwner), mpool::Error);
  EXPECT_FALSE(files_.settled());
  EXPECT_THROW(files_.flush(handle, kOwner), mpool::Error);
  EXPECT_FALSE(files_.settled());
  files_.settle(1);  // for a limited time
  EXPECT_TRUE(files_.settled());
}

}  // namespace
}  // namespace mpoolfs

#include "fuse/ops/open_files.h"

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fuse/idle_file.h"

namespace mpoolfs {
namespace {

using mpool::FileKind;
using testing::ElementsAre;
using namespace std::chrono_literals;

// Longer than any test should take: what waits comes back because of what it waits for.
constexpr std::chrono::milliseconds kLong{60'000};

// Processes that have a file open.
constexpr std::uint64_t kOwner = 7;
constexpr std::uint64_t kChild = 8;

// Something that waits, on a thread of its own.
class Waiting {
 public:
  explicit Waiting(std::function<void()> work)
      : thread_([this, work = std::move(work)] {
          work();
          done_ = true;
        }) {}
  ~Waiting() { join(); }

  // It came back, in a time that is enough for it to do so.
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

// Tells when it is closed.
class FakeFile final : public test::IdleFile {
 public:
  FakeFile(mpool::InodeNumber inode, FileKind kind, std::vector<mpool::InodeNumber>& closed)
      : IdleFile(inode, kind), closed_(closed) {}

  void close() noexcept override { closed_.push_back(inode()); }

 private:
  std::vector<mpool::InodeNumber>& closed_;
};

class OpenFilesTest : public testing::Test {
 protected:
  Handle& open(mpool::InodeNumber inode, bool write, FileKind kind = FileKind::write_once) {
    return files_.add(std::make_unique<FakeFile>(inode, kind, closed_),
                      {.read = !write, .write = write, .append = kind == FileKind::log});
  }

  std::vector<mpool::InodeNumber> closed_;
  OpenFiles files_{kLong};
};

TEST_F(OpenFilesTest, KeepsWhatWasOpened) {
  Handle& handle = open(5, true, FileKind::log);
  EXPECT_EQ(handle.file().inode(), 5u);
  EXPECT_TRUE(handle.append());
  EXPECT_FALSE(open(6, true).append());
  EXPECT_EQ(files_.count(), 2u);
}

TEST_F(OpenFilesTest, ClosesOnce) {
  open(1, true);
  Handle& second = open(2, false);
  files_.close(second);
  EXPECT_THAT(closed_, ElementsAre(2));
  EXPECT_EQ(files_.count(), 1u);
}

TEST_F(OpenFilesTest, ClosesTheRestInOrder) {
  open(3, true);
  Handle& middle = open(1, false);
  open(2, true);
  open(3, false);
  files_.close(middle);
  files_.close_all();
  EXPECT_THAT(closed_, ElementsAre(1, 3, 2, 3));
  EXPECT_EQ(files_.count(), 0u);
}

TEST_F(OpenFilesTest, NothingToSettle) {
  files_.settle(1);
  open(1, true);  // being written
  files_.note_flush(open(2, false), kOwner);
  files_.note_flush(open(3, true, FileKind::log), kOwner);
  for (const mpool::InodeNumber inode : {1u, 2u, 3u})
    files_.settle(inode);
  files_.settle_earlier();
}

TEST_F(OpenFilesTest, WritingGoesOnAfterAFlush) {
  Handle& handle = open(1, true);
  files_.note_flush(handle, kOwner);
  files_.note_write(handle, kOwner);
  files_.settle(1);
  files_.settle_earlier();
}

TEST_F(OpenFilesTest, ChildrenOfTheWriterCloseWhatTheyInherited) {
  Handle& handle = open(1, true);
  files_.note_write(handle, kOwner);
  files_.note_flush(handle, kChild);
  files_.note_write(handle, kChild);  // another one, who writes, too
  files_.note_flush(handle, kChild);
  files_.settle(1);
  EXPECT_TRUE(files_.settled());

  files_.note_flush(handle, kOwner);
  EXPECT_FALSE(files_.settled());
  files_.note_write(handle, kChild);  // who wrote first was not the last one
  files_.settle(1);
  files_.note_flush(handle, kOwner);
  EXPECT_TRUE(files_.settled());
  files_.note_flush(handle, kChild);
  Waiting settled([&] { files_.settle(1); });
  EXPECT_FALSE(settled.soon());
  files_.close(handle);
}

TEST_F(OpenFilesTest, WritersWithoutANumberAreNobody) {
  Handle& handle = open(1, true);
  files_.note_write(handle, 0);
  files_.note_flush(handle, kChild);
  EXPECT_FALSE(files_.settled());
  files_.close(handle);
}

TEST_F(OpenFilesTest, WaitsForTheCloseAfterAFlush) {
  Handle& handle = open(1, true);
  files_.note_flush(handle, kOwner);
  files_.note_flush(handle, kOwner);
  Waiting settled([&] { files_.settle(1); });
  EXPECT_FALSE(settled.soon());
  files_.settle(2);
  files_.close(handle);
}

TEST_F(OpenFilesTest, WaitsForAWriteAfterAFlush) {
  Handle& handle = open(1, true);
  files_.note_flush(handle, kOwner);
  Waiting settled([&] { files_.settle(1); });
  EXPECT_FALSE(settled.soon());
  files_.note_write(handle, kOwner);
}

TEST_F(OpenFilesTest, WaitsForAllClosesBefore) {
  open(1, true);
  Handle& second = open(2, true);
  Handle& third = open(3, true);
  files_.note_flush(second, kOwner);
  files_.note_flush(third, kOwner);
  Waiting settled([&] { files_.settle_earlier(); });
  EXPECT_FALSE(settled.soon());
  files_.note_flush(open(4, true), kOwner);  // later, so not waited for
  files_.close(second);
  EXPECT_FALSE(settled.soon());
  files_.close(third);
}

TEST_F(OpenFilesTest, ClosesInTheOrderOfFlushes) {
  Handle& first = open(1, true);
  Handle& second = open(2, true);
  files_.note_flush(second, kOwner);
  files_.note_flush(first, kOwner);
  Waiting closed([&] { files_.close(first); });
  EXPECT_FALSE(closed.soon());
  files_.close(second);
  closed.join();
  EXPECT_THAT(closed_, ElementsAre(2, 1));
}

TEST_F(OpenFilesTest, CloseNowKeepsTheOrderOfFlushes) {
  Handle& first = open(1, true);
  Handle& second = open(2, true);
  EXPECT_TRUE(files_.settled());
  files_.note_flush(second, kOwner);
  files_.note_flush(first, kOwner);
  EXPECT_FALSE(files_.settled());
  EXPECT_FALSE(files_.close_now(first));
  EXPECT_TRUE(files_.close_now(second));
  EXPECT_FALSE(files_.settled());
  EXPECT_TRUE(files_.close_now(first));
  EXPECT_TRUE(files_.settled());
  EXPECT_THAT(closed_, ElementsAre(2, 1));
}

TEST(OpenFilesShared, ADuplicatedDescriptorIsWaitedForOnce) {
  std::vector<mpool::InodeNumber> closed;
  OpenFiles files(10ms);
  Handle& handle = files.add(std::make_unique<FakeFile>(1, FileKind::write_once, closed),
                             {.read = false, .write = true, .append = false, .truncate = false});
  files.note_flush(handle, kOwner);
  files.settle(1);
  files.note_flush(handle, kOwner);
  files.settle_earlier();
  EXPECT_EQ(files.count(), 1u);
}

}  // namespace
}  // namespace mpoolfs

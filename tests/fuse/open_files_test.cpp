#include "fuse/ops/open_files.h"

#include <atomic>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mpoolfs {
namespace {

using mpool::FileKind;
using testing::ElementsAre;
using namespace std::chrono_literals;

// Longer than any test should take; settle() comes back before because of what it waits for.
constexpr auto kLong = std::chrono::milliseconds{60'000};

// Tells when it is closed.
class FakeFile : public mpool::OpenFile {
 public:
  FakeFile(mpool::InodeNumber inode, FileKind kind, std::vector<mpool::InodeNumber>& closed)
      : inode_(inode), kind_(kind), closed_(closed) {}

  mpool::InodeNumber inode() const override { return inode_; }
  FileKind kind() const override { return kind_; }
  bool cacheable() const override { return false; }
  std::size_t read(std::uint64_t, mpool::ByteSpan) override { return 0; }
  void write(std::uint64_t, mpool::ConstByteSpan, bool) override {}
  void truncate(std::uint64_t) override {}
  void fsync() override {}
  void flush() override {}
  void close() noexcept override { closed_.push_back(inode_); }

 private:
  mpool::InodeNumber inode_;
  FileKind kind_;
  std::vector<mpool::InodeNumber>& closed_;
};

class OpenFilesTest : public testing::Test {
 protected:
  Handle& open(mpool::InodeNumber inode, bool write, FileKind kind = FileKind::write_once) {
    return files_.add(std::make_unique<FakeFile>(inode, kind, closed_),
                      {.read = !write, .write = write, .append = kind == FileKind::log});
  }

  std::vector<mpool::InodeNumber> closed_;
  OpenFiles files_;
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
  files_.settle(1, kLong);
  open(1, true);   // being written
  open(2, false);  // read
  files_.note_flush(open(3, false));
  files_.note_flush(open(4, true, FileKind::log));
  for (const mpool::InodeNumber inode : {1u, 2u, 3u, 4u})
    files_.settle(inode, kLong);
}

TEST_F(OpenFilesTest, OneOfTwoWritersFlushedIsNotTheEnd) {
  files_.note_flush(open(1, true));
  open(1, true);
  files_.settle(1, kLong);
}

TEST_F(OpenFilesTest, WritingGoesOnAfterAFlush) {
  Handle& handle = open(1, true);
  files_.note_flush(handle);
  files_.note_write(handle);
  files_.settle(1, kLong);
}

TEST_F(OpenFilesTest, WaitsForTheCloseAfterAFlush) {
  Handle& handle = open(1, true);
  files_.note_flush(handle);
  files_.note_flush(handle);
  std::atomic<bool> settled = false;
  std::thread waiting([&] {
    files_.settle(1, kLong);
    settled = true;
  });
  std::this_thread::sleep_for(20ms);
  EXPECT_FALSE(settled);
  files_.close(handle);
  waiting.join();
  EXPECT_TRUE(settled);
}

TEST_F(OpenFilesTest, WaitsForAWriteAfterAFlush) {
  Handle& handle = open(1, true);
  files_.note_flush(handle);
  std::thread waiting([&] { files_.settle(1, kLong); });
  std::this_thread::sleep_for(20ms);
  files_.note_write(handle);
  waiting.join();
  files_.close(handle);
}

TEST_F(OpenFilesTest, DoesNotWaitForEver) {
  files_.note_flush(open(1, true));
  files_.settle(1, 10ms);
  files_.settle_all(10ms);
  EXPECT_EQ(files_.count(), 1u);
}

TEST_F(OpenFilesTest, WaitsForAllCloses) {
  open(1, true);
  Handle& second = open(2, true);
  Handle& third = open(3, true);
  files_.note_flush(second);
  files_.note_flush(third);
  std::atomic<bool> settled = false;
  std::thread waiting([&] {
    files_.settle_all(kLong);
    settled = true;
  });
  files_.close(third);
  std::this_thread::sleep_for(20ms);
  EXPECT_FALSE(settled);
  files_.close(second);
  waiting.join();
  EXPECT_TRUE(settled);
}

}  // namespace
}  // namespace mpoolfs

#include "engine/file/file_io.h"

#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/base/aligned_buffer.h"
#include "engine/base/error.h"
#include "tests/engine/file/pattern_file.h"
#include "tests/support/error_of.h"

namespace mpool {
namespace {

using test::content_at;
using test::kRead;
using test::WholeDevice;

struct TestRead final : FileRead {
  void finished(ConstByteSpan data, int code) noexcept override {
    ++calls;
    error = code;
    bytes.assign(data.begin(), data.end());
  }
  int calls = 0;
  int error = 0;
  std::vector<std::byte> bytes;
};

// Two rings of one pool. Operations that one posts to the other are kept until deliver().
class FileIoTest : public testing::Test {
 protected:
  FileIoTest() {
    ring_.enable();
    other_ring_.enable();
  }

  ReadResult read(FileIo& io, std::uint64_t offset, std::size_t length = kRead,
                  Buffering buffering = Buffering::device) {
    return io.read(file_, buffering, offset, length, memory_.span(), operation_);
  }
  void deliver() {
    for (RingOperation* operation : std::exchange(posted_, {}))
      operation->completed(0);
  }

  IoRing ring_{8, 64};
  IoRing other_ring_{8, 64};
  WriteMemory budget_;
  FileIoGroup group_{2, budget_};
  std::vector<RingOperation*> posted_;
  FileIo io_{ring_, group_, [this](RingOperation& operation) { posted_.push_back(&operation); }};
  FileIo other_io_{other_ring_, group_,
                   [this](RingOperation& operation) { posted_.push_back(&operation); }};
  WholeDevice file_{5, 100 * kRead};
  AlignedBuffer memory_{kRead};
  TestRead operation_;
};

TEST_F(FileIoTest, AReadIsPendingUntilTheRingHasRun) {
  const ReadResult result = read(io_, kPageSize, 100, Buffering::memory);
  EXPECT_EQ(result.state, IoState::pending);
  EXPECT_EQ(io_.pending(), 1u);
  EXPECT_EQ(operation_.calls, 0);
  ring_.run_completions();
  EXPECT_EQ(io_.pending(), 0u);
  EXPECT_EQ(operation_.calls, 1);
  EXPECT_EQ(operation_.error, 0);
  ASSERT_EQ(operation_.bytes.size(), 100u);
  EXPECT_EQ(operation_.bytes.front(), content_at(kPageSize));
}

TEST_F(FileIoTest, TheEndOfTheFileNeedsNoTransfer) {
  const ReadResult result = read(io_, 100 * kRead, 100, Buffering::memory);
  EXPECT_EQ(result.state, IoState::done);
  EXPECT_TRUE(result.data.empty());
  EXPECT_EQ(io_.pending(), 0u);
}

TEST_F(FileIoTest, AReadThatCannotBePlannedWouldBlock) {
  file_.plannable = false;
  EXPECT_EQ(read(io_, 0).state, IoState::would_block);
  EXPECT_EQ(io_.pending(), 0u);
}

TEST_F(FileIoTest, ErrorsOfThePlanAreThrownAndThoseOfTheDeviceFinish) {
  file_.device.failing_from = 0;
  EXPECT_EQ(read(io_, 0).state, IoState::pending);
  ring_.run_completions();
  EXPECT_EQ(operation_.error, EIO);
  file_.unplannable_from = 0;
  EXPECT_EQ(test::error_of([&] { read(io_, 0); }), ENOMEM);
  EXPECT_EQ(io_.pending(), 0u);
}

TEST_F(FileIoTest, OnlyReadsThatAreNotCachedArePrefetched) {
  for (std::uint64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(read(io_, i * kRead, kRead, Buffering::memory).state, IoState::pending);
    ring_.run_completions();
  }
  EXPECT_EQ(io_.background(), 0u);
  for (std::uint64_t i = 4; i < 6; ++i) {
    EXPECT_EQ(read(io_, i * kRead).state, IoState::pending);
    ring_.run_completions();
  }
  const ReadResult result = read(io_, 6 * kRead);
  EXPECT_EQ(result.state, IoState::done);
  EXPECT_EQ(result.data.front(), content_at(6 * kRead));
  EXPECT_NE(result.data.data(), memory_.data());
}

// A read that another ring has in progress for it finishes on its own ring.
TEST_F(FileIoTest, TakesWhatAnotherRingPrefetches) {
  for (std::uint64_t i = 0; i < 2; ++i) {
    EXPECT_EQ(read(io_, i * kRead).state, IoState::pending);
    if (i == 0) ring_.run_completions();
  }
  EXPECT_GT(io_.background(), 0u);
  TestRead moved;
  EXPECT_EQ(other_io_.read(file_, Buffering::device, 2 * kRead, kRead, memory_.span(), moved).state,
            IoState::pending);
  EXPECT_EQ(other_io_.pending(), 1u);
  ring_.run_completions();
  EXPECT_EQ(moved.calls, 0);
  ASSERT_EQ(posted_.size(), 1u);
  deliver();
  EXPECT_EQ(moved.calls, 1);
  EXPECT_EQ(moved.error, 0);
  EXPECT_EQ(moved.bytes.front(), content_at(2 * kRead));
  EXPECT_EQ(other_io_.pending(), 0u);
  other_ring_.run_completions();
}

}  // namespace
}  // namespace mpool

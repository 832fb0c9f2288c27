// The library's side of a session of `.mpool/ctl`, with files that only note what is asked of them.
#include "fuse/client/mount_session.h"

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <mpool/ioctl.h>

namespace libmpool {
namespace {

using Calls = std::vector<std::string>;

class NotedFile : public MountFile {
 public:
  explicit NotedFile(Calls& calls) : calls_(calls) {}
  void read(std::uint64_t, std::span<const mpool::ByteSpan>) override {}
  void write(std::uint64_t, std::span<const mpool::ConstByteSpan>) override {
    calls_.emplace_back("write");
  }
  void ioctl(unsigned long command, void* structure) override {
    if (command == MPOOL_IOC_VERSION) {
      static_cast<mpool_ioc_version*>(structure)->version = MPOOL_IOC_VERSION_NUMBER;
    } else if (command == MPOOL_IOC_APPEND) {
      const auto& append = *static_cast<const mpool_ioc_append*>(structure);
      const bool sync = (append.flags & MPOOL_IOC_SYNC_RECORD) != 0;
      const bool in_buffer = (append.flags & MPOOL_IOC_IN_BUFFER) != 0;
      calls_.emplace_back(std::string("append") + (in_buffer ? " from the buffer" : "") +
                          (sync ? " and sync" : ""));
    } else if (command == MPOOL_IOC_SYNC) {
      calls_.emplace_back("sync");
    }
  }
  std::uint64_t size() const override { return 0; }
  void map(mpool::ByteSpan) override {}
  void drop_cached() override {}

 private:
  Calls& calls_;
};

class NotedDirectory : public MountDirectory {
 public:
  explicit NotedDirectory(Calls& calls) : calls_(calls) {}
  std::unique_ptr<MountFile> open(const std::string&, int) override {
    return std::make_unique<NotedFile>(calls_);
  }
  std::vector<std::string> list(const std::string&) override { return {}; }
  void remove(const char*) noexcept override {}

 private:
  Calls& calls_;
};

Calls calls_of_append(std::size_t length, bool durable) {
  Calls calls;
  MountSession session(std::make_unique<NotedDirectory>(calls));
  const std::vector<std::byte> record(length);
  const mpool::ConstByteSpan part = record;
  session.append(1, std::span(&part, 1), durable);
  return calls;
}

TEST(MountSession, AppendsAShortRecordWithOneCall) {
  EXPECT_EQ(calls_of_append(MPOOL_IOC_APPEND_INLINE, false), Calls{"append"});
  EXPECT_EQ(calls_of_append(MPOOL_IOC_APPEND_INLINE, true), Calls{"append and sync"});
}

// The buffer is that of one call at a time: a flush meanwhile would be one of its own.
TEST(MountSession, SyncsALongRecordAfterTheBufferIsFree) {
  const std::size_t length = MPOOL_IOC_APPEND_INLINE + 1;
  EXPECT_EQ(calls_of_append(length, false), (Calls{"write", "append from the buffer"}));
  EXPECT_EQ(calls_of_append(length, true), (Calls{"write", "append from the buffer", "sync"}));
}

}  // namespace
}  // namespace libmpool

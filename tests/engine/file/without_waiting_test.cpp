// Reading and writing without blocking on the device.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/base/aligned_buffer.h"
#include "tests/engine/names/support.h"
#include "tests/support/async_io.h"

namespace mpool::test {
namespace {

// A write that does not block, and is not pending either.
IoState start(OpenFile& file, std::uint64_t offset, const AlignedBuffer& data,
              bool append = false) {
  AsyncWrite write;
  const IoState state =
      file.write(offset, data.span(), append, OnRing<FileWrite>{AsyncIo::of_thread().io(), write},
                 Blocking::forbidden);
  EXPECT_NE(state, IoState::pending);
  return state;
}

std::string plain_read(OpenFile& file, std::uint64_t offset, std::size_t length) {
  std::string text(length, '\0');
  text.resize(file.read(offset, {reinterpret_cast<std::byte*>(text.data()), length}));
  return text;
}

TEST(AsyncRead, GivesWhatReadGives) {
  TestTree tree;
  const std::string text = pattern(5 * kZoneSize + 777);
  tree.put("f", text);
  tree.names().sync();
  const auto file = tree.open("f", {.read = true});
  for (const std::size_t length :
       {std::size_t{1}, kPage, 3 * kPage, std::size_t{kZoneSize} + kPage, std::size_t{200'000}}) {
    for (std::uint64_t offset = 0; offset < text.size(); offset += kPage) {
      const auto planned = read_async(*file, offset, length);
      ASSERT_TRUE(planned) << length << " at " << offset;
      ASSERT_TRUE(*planned == text.substr(offset, length)) << length << " at " << offset;
    }
  }
  EXPECT_EQ(read_async(*file, round_up(text.size(), kPage), kPage), "");
  EXPECT_EQ(read_async(*file, 1000 * kZoneSize, kPage), "");
  EXPECT_EQ(read_async(*file, 0, 0), "");
  // Pages of the file are not aligned with those of the memory.
  EXPECT_FALSE(read_async(*file, 512, kPage));
  file->close();
}

TEST(AsyncRead, TransfersWholePagesOnce) {
  TestTree tree;
  tree.put("f", pattern(kZoneSize));
  tree.names().sync();
  const auto file = tree.open("f", {.read = true});
  const auto before = tree.device().counters();
  EXPECT_EQ(read_async(*file, kPage, 100)->size(), 100u);
  EXPECT_EQ(tree.device().counters().reads, before.reads + 1);
  EXPECT_EQ(tree.device().counters().read_bytes, before.read_bytes + kPage);
  file->close();
}

// The end of a small file may be in memory only: the first read writes it to the device.
TEST(AsyncRead, WaitsForWhatIsNotOnTheDeviceYet) {
  TestTree tree({.commit_interval = std::chrono::hours(1)});
  const auto writes = [&] { return tree.device().counters().writes; };
  const auto writer = tree.create("f");
  writer->write(0, bytes_of("small"), false);
  const std::uint64_t before = writes();
  writer->flush();
  writer->close();
  EXPECT_EQ(writes(), before);
  const auto file = tree.open("f", {.read = true});
  EXPECT_FALSE(read_async(*file, 0, kPage));
  EXPECT_EQ(plain_read(*file, 0, kPage), "small");
  EXPECT_EQ(writes(), before + 1);
  EXPECT_EQ(read_async(*file, 0, kPage), "small");
  file->close();
  tree.remount();
  EXPECT_EQ(tree.get("f"), "small");
}

TEST(AsyncRead, ManySmallFilesDoNotStayInMemory) {
  TestTree tree({.commit_interval = std::chrono::hours(1)}, {.zones = 4096});
  const std::string text = pattern(kZoneSize);
  for (int i = 0; i < 300; ++i)
    tree.put(fmt::format("f{}", i), text);
  tree.names().sync();
  EXPECT_FALSE(tree.pool().write_memory().should_write_out());
  for (int i = 0; i < 300; ++i)
    ASSERT_TRUE(tree.get(fmt::format("f{}", i)) == text) << i;
}

TEST(TryFlush, WhereNothingHasToWait) {
  TestTree tree;
  const auto file = tree.create("f");
  file->write(0, bytes_of("small"), false);
  EXPECT_TRUE(file->flush(Blocking::forbidden));
  file->write(5, bytes_of(pattern(200'000)), false);
  EXPECT_FALSE(file->flush(Blocking::forbidden));
  file->flush();
  file->close();
  const auto reader = tree.open("f", {.read = true});
  EXPECT_TRUE(reader->flush(Blocking::forbidden));
  reader->close();
  TestTree synced({.sync = true});
  const auto written = synced.create("f");
  written->write(0, bytes_of("small"), false);
  EXPECT_FALSE(written->flush(Blocking::forbidden));
  written->close();
}

TEST(AsyncRead, ZeroesGaps) {
  TestTree tree;
  const auto file = tree.create("f");
  file->write(kPage, bytes_of(pattern(kPage)), false);
  file->write(4 * kZoneSize, bytes_of(pattern(100)), false);
  file->truncate(6 * kZoneSize + 5);
  file->close();
  tree.names().sync();
  const auto reader = tree.open("f", {.read = true});
  const std::uint64_t size = tree.stat("f").size;
  std::size_t plans = 0;
  for (std::uint64_t offset = 0; offset < size; offset += kPage) {
    for (const std::size_t length : {kPage, std::size_t{kZoneSize}, std::size_t{3 * kZoneSize}}) {
      const auto planned = read_async(*reader, offset, length);
      if (!planned) continue;
      ++plans;
      ASSERT_TRUE(*planned == plain_read(*reader, offset, length)) << length << " at " << offset;
    }
  }
  EXPECT_EQ(read_async(*reader, 5 * kZoneSize, kPage), std::string(kPage, '\0'));
  EXPECT_EQ(read_async(*reader, 6 * kZoneSize, kPage), std::string(5, '\0'));
  // Data and a gap that continues behind it share a page.
  EXPECT_FALSE(read_async(*reader, 4 * kZoneSize, kPage));
  EXPECT_EQ(read_async(*reader, 4 * kZoneSize, 100), pattern(100));
  EXPECT_GT(plans, 3 * size / kPage / 2);
  reader->close();
}

TEST(AsyncRead, OfFilesMadeInManySteps) {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    TestTree tree;
    const auto file = tree.create("f");
    std::vector<std::uint64_t> cuts;
    for (std::uint64_t at = 0; at < 8 * kZoneSize; at += 1 + random() % 40'000)
      cuts.push_back(random() % 2 == 0 ? round_up(at, kPage) : at);
    std::ranges::sort(cuts);
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      if (cuts[i] == cuts[i + 1] || random() % 4 == 0) continue;
      file->write(cuts[i], bytes_of(pattern(cuts[i + 1] - cuts[i], i)), false);
      if (random() % 4 == 0) file->fsync();
    }
    file->close();
    tree.names().sync();
    const auto reader = tree.open("f", {.read = true});
    std::size_t plans = 0;
    for (int i = 0; i < 2000; ++i) {
      const std::uint64_t offset = random() % (9 * kZoneSize / kPage) * kPage;
      const std::size_t length = 1 + random() % (random() % 2 == 0 ? 2 * kPage : 200'000);
      const auto planned = read_async(*reader, offset, length);
      if (!planned) continue;
      ++plans;
      ASSERT_TRUE(*planned == plain_read(*reader, offset, length)) << length << " at " << offset;
    }
    EXPECT_GT(plans, 200u);
    reader->close();
  }
}

TEST(AsyncRead, NotMoreTransfersThanFit) {
  TestTree tree;
  const std::string text = pattern(10 * kZoneSize);
  tree.put("f", text);
  const auto file = tree.open("f", {.read = true});
  EXPECT_FALSE(read_async(*file, 0, text.size()));
  const std::size_t most = ReadPlan::kMaxTransfers * kZoneSize;
  const auto planned = read_async(*file, 0, most);
  ASSERT_TRUE(planned);
  EXPECT_TRUE(*planned == text.substr(0, most));
  file->close();
}

TEST(AsyncRead, OnlyOfCommittedFiles) {
  TestTree tree;
  tree.put("empty", "");
  tree.append("log", "line\n");
  const auto empty = tree.open("empty", {.read = true});
  const auto log = tree.open("log", {.read = true});
  const auto written = tree.create("f");
  written->write(0, bytes_of(pattern(kPage)), false);
  written->fsync();
  const auto early = tree.open("f", {.read = true});
  EXPECT_FALSE(read_async(*empty, 0, kPage));
  EXPECT_FALSE(read_async(*log, 0, kPage));
  EXPECT_FALSE(read_async(*written, 0, kPage));
  EXPECT_FALSE(read_async(*early, 0, kPage));
  const auto writer = tree.open("f", {.write = true});
  EXPECT_EQ(errno_of([&] { read_async(*writer, 0, kPage); }), EBADF);
  writer->close();
  written->close();
  EXPECT_EQ(read_async(*early, 0, kPage), pattern(kPage));
  for (OpenFile* file : {empty.get(), log.get(), early.get()})
    file->close();
}

TEST(AsyncRead, OfAFileThatIsGone) {
  TestTree tree;
  tree.put("f", pattern(2 * kZoneSize));
  const auto before = tree.open("f", {.read = true});
  EXPECT_EQ(read_async(*before, 0, kPage), pattern(kPage));
  const auto untouched = tree.open("f", {.read = true});
  tree.unlink("f");
  tree.names().sync();
  tree.put("other", pattern(4 * kZoneSize, 9));
  EXPECT_TRUE(read_async(*before, 0, 2 * kZoneSize) == pattern(2 * kZoneSize));
  EXPECT_TRUE(read_async(*untouched, 0, 2 * kZoneSize) == pattern(2 * kZoneSize));
  before->close();
  untouched->close();
}

TEST(AsyncRead, ByManyThreadsAtOnce) {
  TestTree tree;
  for (int round = 0; round < 20; ++round) {
    const std::string name = "f" + std::to_string(round);
    const std::string text = pattern(2 * kZoneSize, round);
    tree.put(name, text);
    const auto file = tree.open(name, {.read = true});
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        if (t % 2 == 0) {
          EXPECT_TRUE(read_async(*file, 0, text.size()) == text);
        } else {
          EXPECT_TRUE(plain_read(*file, 0, text.size()) == text);
        }
      });
    }
    for (auto& thread : threads)
      thread.join();
    file->close();
  }
}

// --- writing ---

TEST(AsyncWrite, GivesTheSameFile) {
  TestTree tree;
  const std::string text = pattern(4 * kZoneSize + 100);
  const std::string_view view = text;
  const auto file = tree.create("f");
  for (std::size_t page = text.size() / kPage + 1; page-- > 0;)
    put(*file, page * kPage, view.substr(page * kPage, kPage));
  put(*file, 0, "again");
  put(*file, 0, view.substr(0, 5));
  file->close();
  EXPECT_EQ(tree.get("f"), text);
  tree.remount();
  EXPECT_EQ(tree.get("f"), text);
}

TEST(AsyncWrite, Appending) {
  TestTree tree;
  const auto file = tree.create("f");
  const auto other = tree.open("f", {.write = true});
  std::string text;
  for (int i = 0; i < 100; ++i) {
    const std::string piece = pattern(1 + i * 37, i);
    put(i % 2 == 0 ? *file : *other, 0, piece, true);
    text += piece;
  }
  file->close();
  other->close();
  EXPECT_EQ(tree.get("f"), text);
}

TEST(AsyncWrite, LogsWouldBlockAndReadersAreRefused) {
  TestTree tree;
  const auto log = tree.create("log", true);
  const AlignedBuffer data = aligned(pattern(kPage));
  EXPECT_EQ(start(*log, 0, data, true), IoState::would_block);
  EXPECT_EQ(start(*log, 0, data), IoState::would_block);
  const auto reader = tree.open("log", {.read = true});
  EXPECT_EQ(errno_of([&] { start(*reader, 0, data); }), EBADF);
  reader->close();
  log->close();
}

// Blocking::allowed: what would block is done when the call returns.
TEST(AsyncWrite, BlocksWhereItMay) {
  TestTree tree;
  const AlignedBuffer data = aligned(pattern(kPage));
  AsyncWrite write;
  FileIo& io = AsyncIo::of_thread().io();
  const auto file = tree.create("f");
  EXPECT_EQ(start(*file, 0, data), IoState::would_block) << "the first of a zone";
  EXPECT_EQ(file->write(0, data.span(), false, OnRing<FileWrite>{io, write}, Blocking::allowed),
            IoState::done);
  file->close();
  const auto log = tree.create("log", true);
  EXPECT_EQ(log->write(0, data.span(), true, OnRing<FileWrite>{io, write}, Blocking::allowed),
            IoState::done);
  log->close();
  EXPECT_EQ(tree.get("f"), pattern(kPage));
  EXPECT_EQ(tree.get("log"), pattern(kPage));
  EXPECT_EQ(write.calls, 0);
}

TEST(AsyncRead, BlocksWhereItMay) {
  TestTree tree;
  tree.append("log", "line\n");
  const auto log = tree.open("log", {.read = true});
  AlignedBuffer memory(kPage);
  AsyncRead read;
  FileIo& io = AsyncIo::of_thread().io();
  EXPECT_EQ(
      log->read(0, kPage, memory.span(), OnRing<FileRead>{io, read}, Blocking::forbidden).state,
      IoState::would_block);
  const ReadResult result =
      log->read(2, kPage, memory.span(), OnRing<FileRead>{io, read}, Blocking::allowed);
  EXPECT_EQ(result.state, IoState::done);
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(result.data.data()), result.data.size()),
            "ne\n");
  EXPECT_EQ(read.calls, 0);
  log->close();
}

// During its lifetime pages written out of order are not held in memory.
class NoWriteMemory {
 public:
  explicit NoWriteMemory(const TestTree& tree) : memory_(tree.pool().write_memory()) {
    memory_.take(Tunables::Writing{}.max_bytes);
  }
  ~NoWriteMemory() { memory_.give(Tunables::Writing{}.max_bytes); }
  NoWriteMemory(const NoWriteMemory&) = delete;
  NoWriteMemory& operator=(const NoWriteMemory&) = delete;

 private:
  WriteMemory& memory_;
};

TEST(AsyncWrite, TheCloseWaitsForIt) {
  TestTree tree;
  const NoWriteMemory no_memory(tree);
  const std::string text = pattern(3 * kPage);
  const auto file = tree.create("f");
  put(*file, 0, text.substr(0, kPage));
  const AlignedBuffer data = aligned(text.substr(2 * kPage));
  AsyncIo async;
  AsyncWrite write;
  ASSERT_EQ(file->write(8 * kPage, data.span(), false, OnRing<FileWrite>{async.io(), write},
                        Blocking::forbidden),
            IoState::pending);
  std::atomic<bool> ended = false;
  std::thread closer([&] {
    file->close();
    EXPECT_TRUE(ended);
  });
  ended = true;
  async.complete();
  closer.join();
  EXPECT_EQ(write.calls, 1);
  EXPECT_EQ(write.error, 0);
  EXPECT_EQ(tree.get("f"),
            text.substr(0, kPage) + std::string(7 * kPage, '\0') + text.substr(2 * kPage));
}

TEST(AsyncWrite, PoolsShareNoMemory) {
  TestTree full;
  const NoWriteMemory no_memory(full);
  TestTree other;
  for (TestTree* tree : {&full, &other}) {
    const auto file = tree->create("f");
    put(*file, 0, pattern(kPage));
    const AlignedBuffer data = aligned(pattern(kPage));
    AsyncWrite write;
    EXPECT_EQ(file->write(8 * kPage, data.span(), false,
                          OnRing<FileWrite>{AsyncIo::of_thread().io(), write}, Blocking::forbidden),
              tree == &full ? IoState::pending : IoState::done);
    AsyncIo::of_thread().complete();
    file->close();
    EXPECT_EQ(tree->get("f").size(), 9 * kPage);
  }
}

// The ring has failed: the write in progress ends with the error, which is sticky.
TEST(AsyncWrite, AnAbandonedWriteFailsTheFile) {
  TestTree tree;
  const NoWriteMemory no_memory(tree);
  const auto file = tree.create("f");
  file->write(0, bytes_of(pattern(kPage)), false);
  const AlignedBuffer data = aligned(pattern(kPage));
  AsyncIo async;
  AsyncWrite write;
  ASSERT_EQ(file->write(4 * kPage, data.span(), false, OnRing<FileWrite>{async.io(), write},
                        Blocking::forbidden),
            IoState::pending);
  async.io().abandon(EIO);
  EXPECT_EQ(write.calls, 1);
  EXPECT_EQ(write.error, EIO);
  EXPECT_EQ(async.io().pending(), 0u);
  EXPECT_EQ(errno_of([&] { start(*file, 8 * kPage, data); }), EIO);
  EXPECT_EQ(errno_of([&] { file->flush(); }), EIO);
  EXPECT_EQ(errno_of([&] { file->fsync(); }), EIO);
  file->close();
  EXPECT_EQ(errno_of([&] { tree.stat("f"); }), ENOENT);
}

TEST(AsyncWrite, ThreadsWithFsyncsAndATruncation) {
  std::mt19937 random(13);
  TestTree tree;
  constexpr std::size_t kPages = 8 * kZoneSize / kPage;
  const std::string text = pattern(kPages * kPage);
  std::vector<std::size_t> order(kPages);
  for (std::size_t i = 0; i < kPages; ++i)
    order[i] = i;
  std::ranges::shuffle(order, random);
  const auto file = tree.create("f");
  const auto write_all = [&] {
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        for (std::size_t i = t; i < kPages; i += 3)
          put(*file, order[i] * kPage, std::string_view(text).substr(order[i] * kPage, kPage));
      });
    }
    for (int i = 0; i < 5; ++i)
      file->fsync();
    if (random() % 2 == 0) file->truncate(0);
    for (auto& thread : threads)
      thread.join();
  };
  write_all();
  file->truncate(0);
  std::thread truncation([&] { file->truncate(0); });
  write_all();
  truncation.join();
  file->truncate(0);
  for (const std::size_t page : order)
    put(*file, page * kPage, std::string_view(text).substr(page * kPage, kPage));
  file->close();
  EXPECT_TRUE(tree.get("f") == text);
}

}  // namespace
}  // namespace mpool::test

// Non-blocking writes (ContentWriter::start_write).
#include <algorithm>
#include <atomic>
#include <cstring>
#include <list>
#include <numeric>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "engine/base/aligned_buffer.h"
#include "engine/object/held_pages.h"
#include "tests/engine/object/content_support.h"

namespace mpool {
namespace {

using test::content;
using test::error_of;
using test::File;
using test::Piece;
using test::random_pieces;
using test::TestPool;
using Kind = StartedWrite::Kind;

constexpr std::uint64_t kBigZone = 2u << 20;
constexpr std::size_t kPiece = HeldPages::kPieceSize;

// Memory without room for pages out of order.
WriteMemory& no_memory() {
  static WriteMemory memory({.max_bytes = 64u << 20, .max_per_file = 0});
  return memory;
}

// The content of a range, in memory aligned as the daemon's.
AlignedBuffer aligned_content(std::uint64_t offset, std::size_t length) {
  AlignedBuffer buffer(length);
  const auto bytes = content(offset, length);
  std::memcpy(buffer.data(), bytes.data(), length);
  return buffer;
}

// Writes as the daemon does; counts the results of each kind.
class Starter {
 public:
  explicit Starter(File& file) : file_(file) {}
  ~Starter() {
    while (!under_way_.empty())
      end(under_way_.begin());
  }

  // Starts a write, and leaves a transfer in progress.
  Kind start(std::uint64_t offset, std::size_t length) {
    AlignedBuffer data = aligned_content(offset, length);
    StartedWrite write = file_.writer.start_write(offset, data.span());
    const Kind kind = write.kind;
    if (kind == Kind::transfer) {
      ++transfers;
      under_way_.push_back({std::move(data), std::move(write)});
    } else if (kind == Kind::must_wait) {
      ++waits;
    }
    return kind;
  }
  // The same; if it must wait, uses write().
  void put(std::uint64_t offset, std::size_t length) {
    if (start(offset, length) == Kind::must_wait) file_.write(offset, length);
  }
  std::size_t under_way() const { return under_way_.size(); }
  const StartedWrite& last() const { return under_way_.back().write; }
  void end_any(std::mt19937& random) {
    auto it = under_way_.begin();
    std::advance(it, random() % under_way_.size());
    end(it);
  }
  void end_all() {
    while (!under_way_.empty())
      end(under_way_.begin());
  }
  void fail_last(int error) {
    file_.writer.end_write(under_way_.back().write, error);
    under_way_.pop_back();
  }

  int transfers = 0;
  int waits = 0;

 private:
  struct UnderWay {
    AlignedBuffer data;
    StartedWrite write;
  };
  void end(std::list<UnderWay>::iterator it) {
    StartedWrite& write = it->write;
    int error = 0;
    try {
      write.device->write(write.offset, write.memory);
    } catch (const Error& failure) {
      error = failure.code();
    }
    file_.writer.end_write(write, error);
    under_way_.erase(it);
  }

  File& file_;
  std::list<UnderWay> under_way_;
};

TEST(StartedWrite, TheFirstOfAZoneMustWait) {
  TestPool test(20, kBigZone);
  File file(test, kBigZone, no_memory());
  Starter starter(file);
  EXPECT_EQ(starter.start(kPageSize, kPageSize), Kind::must_wait);
  EXPECT_EQ(file.writer.length(), 0u);
  file.put(kPageSize, kPageSize);
  EXPECT_EQ(starter.start(5 * kPageSize, kPageSize), Kind::transfer);
  EXPECT_EQ(starter.start(kBigZone - kPageSize, 2 * kPageSize), Kind::must_wait);
  EXPECT_EQ(starter.start(kBigZone, kPageSize), Kind::must_wait);
  EXPECT_EQ(file.writer.start_write(0, {}).kind, Kind::done);
}

TEST(StartedWrite, RoomSetAsideNeedsNoAllocation) {
  TestPool test(20, kBigZone);
  File file(test, kBigZone);
  Starter starter(file);
  file.writer.set_aside(kBigZone - kPageSize, 2 * kPageSize);
  EXPECT_EQ(file.writer.length(), 0u);
  EXPECT_EQ(starter.start(kBigZone - kPageSize, kPageSize), Kind::done);
  EXPECT_EQ(starter.start(kBigZone, kPageSize), Kind::done);
  starter.end_all();
  file.expect(kBigZone - kPageSize, 2 * kPageSize);
  file.commit(true);
  file.verify();
}

TEST(StartedWrite, PagesInNoOrderAreTransferredFromTheCallersMemory) {
  TestPool test(20, kBigZone);
  File file(test, kBigZone, no_memory());
  file.put(kBigZone - 100 * kPageSize, kPageSize);
  const AlignedBuffer data = aligned_content(8 * kPageSize, 3 * kPageSize);
  StartedWrite write = file.writer.start_write(8 * kPageSize, data.span());
  ASSERT_EQ(write.kind, Kind::transfer);
  EXPECT_EQ(write.memory.data(), data.data());
  EXPECT_EQ(write.memory.size(), data.size());
  EXPECT_EQ(write.device, test.device);
  write.device->write(write.offset, write.memory);
  file.writer.end_write(write, 0);
  file.expect(8 * kPageSize, 3 * kPageSize);
  file.commit(true);
  file.verify();
}

TEST(StartedWrite, AllPagesOfAFileInRandomOrder) {
  constexpr std::size_t kPages = 4 * kBigZone / kPageSize;
  TestPool test(20, kBigZone);
  WriteMemory memory({.max_bytes = 64u << 20, .max_per_file = 256u << 10});
  File file(test, kBigZone, memory);
  std::vector<std::size_t> order(kPages);
  std::iota(order.begin(), order.end(), 0);
  std::mt19937 random(3);
  std::shuffle(order.begin(), order.end(), random);
  Starter starter(file);
  for (const std::size_t page : order) {
    starter.put(page * kPageSize, kPageSize);
    file.expect(page * kPageSize, kPageSize);
    if (starter.under_way() > 32) starter.end_any(random);
  }
  starter.end_all();
  EXPECT_LE(starter.waits, 6);  // one per zone, and where two happened to be in order
  EXPECT_GT(starter.transfers, static_cast<int>(kPages - kPages / 10));
  file.commit(true);
  file.verify();
}

TEST(StartedWrite, SmallOnesStayInMemoryUntilAPieceHasToLeave) {
  TestPool test(20, kBigZone);
  WriteMemory memory({.max_bytes = 64u << 20, .max_per_file = 2 * kPiece});
  File file(test, kBigZone, memory);
  Starter starter(file);
  file.writer.set_aside(0, 4 * kPiece);
  const auto writes = test.device->counters().writes;
  std::uint64_t at = 0;
  for (; at < 2 * kPiece; at += kPageSize)
    ASSERT_EQ(starter.start(at, kPageSize), Kind::done);
  // The oldest one except the first leaves.
  ASSERT_EQ(starter.start(at, kPageSize), Kind::transfer);
  EXPECT_EQ(starter.last().file_offset, kPiece);
  EXPECT_EQ(starter.last().memory.size(), kPiece);
  EXPECT_EQ(starter.last().memory.data(), starter.last().gathered.data());
  for (at += kPageSize; at < 4 * kPiece; at += kPageSize)
    EXPECT_NE(starter.start(at, kPageSize), Kind::must_wait);
  EXPECT_EQ(starter.under_way(), 2u);
  EXPECT_EQ(test.device->counters().writes, writes);
  EXPECT_EQ(memory.bytes(), 4 * kPiece);
  starter.end_all();
  EXPECT_EQ(memory.bytes(), 2 * kPiece);
  EXPECT_EQ(test.device->counters().writes, writes + 2);
  EXPECT_EQ(starter.waits, 0);
  file.expect(0, 4 * kPiece);
  file.verify_read_back();
  file.commit(true);
  EXPECT_EQ(memory.bytes(), 0u);
  file.verify();
}

TEST(StartedWrite, SequentialOnesOfAnySizeRarelyWait) {
  for (const std::size_t size : {1000u, 4096u, 5000u, 65536u, 100'000u, 131'072u, 1u << 20}) {
    SCOPED_TRACE(size);
    constexpr std::uint64_t kLength = 4 * kBigZone;
    TestPool test(20, kBigZone);
    WriteMemory memory({.max_bytes = 64u << 20, .max_per_file = 4 * kPiece});
    File file(test, kBigZone, memory);
    Starter starter(file);
    for (std::uint64_t at = 0; at < kLength; at += size) {
      const std::size_t length = std::min<std::uint64_t>(size, kLength - at);
      starter.put(at, length);
      file.expect(at, length);
      if (starter.under_way() > 2) starter.end_all();
    }
    starter.end_all();
    EXPECT_EQ(starter.waits, 4);
    file.commit(true);
    file.verify();
  }
}

TEST(StartedWrite, BigOnesWithARaggedEnd) {
  TestPool test(20, kBigZone);
  File file(test, kBigZone);
  Starter starter(file);
  file.put(kBigZone - kPageSize, kPageSize);
  EXPECT_EQ(starter.start(0, 200'000), Kind::transfer);
  EXPECT_EQ(starter.last().memory.size(), round_down(200'000, kPageSize));
  EXPECT_EQ(starter.start(200'000, 1000), Kind::done);
  starter.end_all();
  file.expect(0, 201'000);
  file.commit(true);
  file.verify();
}

TEST(StartedWrite, MemoryThatIsNotAlignedMustWait) {
  TestPool test(20, kBigZone);
  File file(test, kBigZone);
  file.put(0, kPageSize);
  constexpr std::size_t kLarge = 128u << 10;
  const AlignedBuffer data = aligned_content(0, kLarge + kPageSize);
  EXPECT_EQ(file.writer.start_write(9 * kPageSize, data.span(8, kLarge)).kind, Kind::must_wait);
}

TEST(StartedWrite, RefusesWhatWriteRefuses) {
  TestPool test(20, kBigZone);
  File file(test, kBigZone, no_memory());
  file.put(0, 2 * kPageSize);
  file.put(8 * kPageSize, kPageSize);
  file.commit(false);
  file.writer.set_aside(7 * kPageSize, kPageSize);
  const AlignedBuffer data = aligned_content(0, 2 * kPageSize);
  const auto start = [&](std::uint64_t offset, std::size_t length) {
    return error_of([&] { file.writer.start_write(offset, data.span(0, length)); });
  };
  EXPECT_EQ(start(kPageSize, kPageSize), EINVAL);
  EXPECT_EQ(start(7 * kPageSize, 2 * kPageSize), EINVAL);
  EXPECT_EQ(start(10, 10), EINVAL);
  EXPECT_EQ(start((std::uint64_t{1} << 63) - 1, kPageSize), EFBIG);
  EXPECT_EQ(file.writer.length(), 9 * kPageSize);
  Starter starter(file);
  EXPECT_EQ(starter.start(7 * kPageSize, kPageSize), Kind::transfer);
  starter.end_all();
  file.expect(7 * kPageSize, kPageSize);
  file.commit(true);
  EXPECT_EQ(start(20 * kPageSize, kPageSize), EALREADY);
  file.verify();
}

TEST(StartedWrite, AFailureIsKept) {
  for (const bool gathered : {false, true}) {
    SCOPED_TRACE(gathered);
    TestPool test(20, kBigZone);
    WriteMemory memory({.max_bytes = 64u << 20, .max_per_file = gathered ? 2 * kPiece : 0});
    File file(test, kBigZone, memory);
    Starter starter(file);
    file.writer.set_aside(0, 3 * kPiece);
    for (std::uint64_t at = 0; gathered && at < 2 * kPiece; at += kPageSize)
      file.write(at, kPageSize);
    ASSERT_EQ(starter.start(2 * kPiece, kPageSize), Kind::transfer);
    starter.fail_last(ENOSPC);
    EXPECT_EQ(error_of([&] { starter.start(3 * kPiece, kPageSize); }), ENOSPC);
    EXPECT_EQ(error_of([&] { file.write(3 * kPiece, kPageSize); }), ENOSPC);
    EXPECT_EQ(error_of([&] { file.read_back(0, kPageSize); }), ENOSPC);
    EXPECT_EQ(error_of([&] { file.writer.drain(); }), ENOSPC);
    EXPECT_EQ(error_of([&] { file.writer.seal(true); }), ENOSPC);
    file.writer.discard();
    file.put(0, 3 * kPageSize);
    file.commit(true);
    file.verify();
  }
}

TEST(StartedWrite, ASealWaitsForItAndHoldsOffOthers) {
  TestPool test(20, kBigZone);
  File file(test, kBigZone, no_memory());
  Starter starter(file);
  file.put(0, kPageSize);
  ASSERT_EQ(starter.start(5 * kPageSize, kPageSize), Kind::transfer);
  std::atomic<bool> ended = false;
  bool ended_before_seal = false;
  std::thread sealer([&] {
    file.commit(true);
    ended_before_seal = ended;
  });
  while (file.writer.start_write(0, {}).kind != Kind::must_wait)
    std::this_thread::yield();
  EXPECT_EQ(starter.start(9 * kPageSize, kPageSize), Kind::must_wait);
  ended = true;
  starter.end_all();
  sealer.join();
  EXPECT_TRUE(ended_before_seal);
  file.expect(5 * kPageSize, kPageSize);
  file.verify();
}

TEST(StartedWrite, RandomPiecesUnderWayInRandomOrder) {
  for (unsigned seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    const std::uint64_t zone = seed % 2 == 0 ? test::kZone : kBigZone;
    TestPool test(zone == kBigZone ? 40 : 160, zone);
    File file(test, zone);
    auto pieces = random_pieces(random, 3'000'000, seed % 3 == 0 ? 300'000 : 9000, true);
    if (seed % 4 != 0) std::shuffle(pieces.begin(), pieces.end(), random);
    Starter starter(file);
    for (const Piece& piece : pieces) {
      // write() may block on pages, but never on a started transfer.
      starter.put(piece.offset, piece.length);
      file.expect(piece.offset, piece.length);
      if (starter.under_way() > 8) starter.end_any(random);
      if (random() % 100 != 0) continue;
      starter.end_all();
      if (random() % 2 == 0) {
        file.writer.drain();
      } else {
        file.commit(false);
      }
    }
    starter.end_all();
    file.commit(true);
    file.verify();
  }
}

// Writes `pieces` from several threads, each with some transfers in progress.
void start_from_threads(File& file, const std::vector<Piece>& pieces, unsigned threads) {
  std::vector<std::thread> running;
  for (unsigned t = 0; t < threads; ++t) {
    running.emplace_back([&file, &pieces, t, threads] {
      std::mt19937 random(t);
      Starter starter(file);
      for (std::size_t i = t; i < pieces.size(); i += threads) {
        if (starter.start(pieces[i].offset, pieces[i].length) == Kind::must_wait) {
          // A thread that waits for a drain must not have transfers in progress.
          starter.end_all();
          file.write(pieces[i].offset, pieces[i].length);
        }
        if (starter.under_way() > 4) starter.end_any(random);
      }
    });
  }
  for (auto& thread : running)
    thread.join();
}

TEST(StartedWrite, ThreadsWithDrainsAndSeals) {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    TestPool test(200);
    File file(test);
    auto pieces = random_pieces(random, 2'000'000, seed % 2 == 0 ? 5000 : 150'000);
    for (const Piece& piece : pieces)
      file.expect(piece.offset, piece.length);
    std::shuffle(pieces.begin(), pieces.end(), random);
    std::atomic<bool> done = false;
    std::thread sealer([&] {
      for (int i = 0; i < 12 && !done; ++i) {
        file.writer.drain();
        if (i % 4 == 0) file.commit(false);
        std::this_thread::yield();
      }
    });
    start_from_threads(file, pieces, 3);
    done = true;
    sealer.join();
    file.commit(true);
    file.verify();
  }
}

TEST(StartedWrite, ThreadsWithDiscards) {
  std::mt19937 random(7);
  TestPool test(64);
  File file(test);
  auto pieces = random_pieces(random, 2'000'000, 20'000);
  std::shuffle(pieces.begin(), pieces.end(), random);
  std::atomic<bool> done = false;
  std::thread discarder([&] {
    for (int i = 0; i < 30 && !done; ++i) {
      file.writer.discard();
      std::this_thread::yield();
    }
  });
  start_from_threads(file, pieces, 3);
  done = true;
  discarder.join();
  file.writer.discard();
  EXPECT_EQ(file.writer.length(), 0u);
  start_from_threads(file, pieces, 3);
  for (const Piece& piece : pieces)
    file.expect(piece.offset, piece.length);
  file.commit(true);
  file.verify();
}

// --- write() under the same rules ---

TEST(ContentWriter, PagesInNoOrderGoStraightToTheDevice) {
  TestPool test(20, kBigZone);
  File file(test, kBigZone, no_memory());
  file.put(0, 100);
  const auto before = test.device->counters();
  for (const std::uint64_t page : {300, 20, 100, 50})
    file.put(page * kPageSize, kPageSize);
  EXPECT_EQ(test.device->counters().writes - before.writes, 4u);
  file.put(100, kPageSize);  // continues the gathered range
  EXPECT_EQ(test.device->counters().writes - before.writes, 4u);
  file.commit(true);
  file.verify();
}

}  // namespace
}  // namespace mpool

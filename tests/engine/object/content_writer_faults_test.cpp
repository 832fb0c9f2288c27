// Failures of a ContentWriter, and its threads.
#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "engine/object/content_writer.h"
#include "tests/engine/object/content_support.h"

namespace mpool {
namespace {

using test::error_of;
using test::File;
using test::kZone;
using test::Piece;
using test::random_pieces;
using test::TestPool;

TEST(ContentWriter, NoSpaceSticksUntilDiscard) {
  TestPool test(32);
  File file(test);
  file.allocations_left = 2;
  file.write(0, 2 * kZone);
  EXPECT_EQ(error_of([&] {
              file.write(2 * kZone, 200'000);
              file.writer.drain();
            }),
            ENOSPC);
  file.allocations_left = 100;
  EXPECT_EQ(error_of([&] { file.write(5 * kZone, 1); }), ENOSPC);
  EXPECT_EQ(error_of([&] { file.writer.drain(); }), ENOSPC);
  EXPECT_EQ(error_of([&] { file.writer.seal(true); }), ENOSPC);
  file.writer.discard();
  file.put(0, 3 * kZone);
  file.commit(true);
  file.verify();
}

TEST(ContentWriter, FullPool) {
  TestPool test(32);
  const std::uint32_t before = test.used_zones();
  {
    File file(test);
    EXPECT_EQ(error_of([&] { file.write(0, 40 * kZone); }), ENOSPC);
  }
  EXPECT_EQ(test.used_zones(), before);
  test.pool->wait_for_discards(std::chrono::seconds(10));
  File file(test);
  file.put(0, 10 * kZone);
  file.commit(true);
  file.verify();
}

TEST(ContentWriter, EveryFailingWriteIsReported) {
  const auto run = [](File& file) {
    for (std::uint64_t at = 0; at < 3 * kZone; at += 50'000)
      file.write(at, 50'000);
    file.write(3 * kZone + 100'000, 100);
    file.write(3 * kZone + 200'000, 131'072);
    file.writer.drain();
    file.writer.seal(true);
  };
  TestPool counting(32);
  const auto before = counting.device->counters().writes;
  {
    File file(counting);
    run(file);
  }
  const auto writes = static_cast<std::int64_t>(counting.device->counters().writes - before);
  ASSERT_GT(writes, 5);
  for (std::int64_t n = 1; n <= writes; ++n) {
    SCOPED_TRACE(n);
    TestPool test(32);
    File file(test);
    test.fail_write(n);
    EXPECT_EQ(error_of([&] { run(file); }), EIO);
    EXPECT_EQ(error_of([&] { file.write(20 * kZone, 1); }), EIO);
    EXPECT_EQ(error_of([&] { file.writer.drain(); }), EIO);
    EXPECT_EQ(error_of([&] { file.writer.seal(true); }), EIO);
  }
}

void write_from_threads(File& file, std::vector<Piece> pieces, unsigned threads,
                        std::mt19937& random) {
  std::shuffle(pieces.begin(), pieces.end(), random);
  std::vector<std::thread> running;
  for (unsigned t = 0; t < threads; ++t) {
    running.emplace_back([&file, &pieces, t, threads] {
      for (std::size_t i = t; i < pieces.size(); i += threads) {
        file.write(pieces[i].offset, pieces[i].length);
      }
    });
  }
  for (auto& thread : running)
    thread.join();
  for (const Piece& piece : pieces)
    file.expect(piece.offset, piece.length);
}

TEST(ContentWriter, ManyThreads) {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    TestPool test(32);
    File file(test);
    auto pieces = random_pieces(random, 3'000'000, seed % 2 == 0 ? 2500 : 300'000);
    write_from_threads(file, std::move(pieces), 4, random);
    file.commit(true);
    EXPECT_EQ(file.mblocks, ceil_div(file.expected.size(), kZone));
    file.verify();
  }
}

TEST(ContentWriter, ManyThreadsWithPagesSpilled) {
  std::mt19937 random(99);
  TestPool test(64);
  WriteMemory memory({.max_bytes = 4u << 20, .max_per_file = 1u << 20});
  File file(test, kZone, memory);
  std::vector<Piece> pieces;
  for (std::uint64_t at = 0; at < 1400 * kPageSize; at += 1024)
    pieces.push_back({at, 1024});
  write_from_threads(file, std::move(pieces), 4, random);
  file.commit(true);
  file.verify();
}

TEST(ContentWriter, ThreadsWithDrainsAndSeals) {
  std::mt19937 random(5);
  TestPool test(160);
  File file(test);
  std::atomic<bool> done = false;
  std::thread sealer([&] {
    for (int i = 0; i < 12 && !done; ++i) {
      file.writer.drain();
      if (i % 4 == 0) file.commit(false);
      std::this_thread::yield();
    }
  });
  write_from_threads(file, random_pieces(random, 2'000'000, 5000), 3, random);
  done = true;
  sealer.join();
  file.commit(true);
  file.verify();
}

TEST(ContentWriter, ThreadsAllSeeTheFailure) {
  TestPool test(32);
  File file(test);
  file.allocations_left = 2;
  std::atomic<int> failed = 0;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = t; i < 100; i += 4) {
        if (error_of([&] { file.write(i * 131'072, 131'072); }) == ENOSPC) ++failed;
      }
    });
  }
  for (auto& thread : threads)
    thread.join();
  EXPECT_GE(failed, 100 - 4 - 4);
  EXPECT_EQ(error_of([&] { file.writer.seal(true); }), ENOSPC);
}

}  // namespace
}  // namespace mpool

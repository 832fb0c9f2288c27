#include "engine/object/content_writer.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "engine/object/held_pages.h"
#include "tests/engine/object/content_support.h"

namespace mpool {
namespace {

using test::error_of;
using test::File;
using test::kZone;
using test::Piece;
using test::random_pieces;
using test::TestPool;

TEST(ContentWriter, NothingWritten) {
  TestPool test(32);
  File file(test);
  EXPECT_EQ(file.writer.length(), 0u);
  file.writer.write(5, {});
  EXPECT_EQ(file.writer.length(), 0u);
  EXPECT_EQ(file.commit(true), 0u);
  EXPECT_TRUE(file.extents.empty());
}

TEST(ContentWriter, ZoneSizeMustBeWholePages) {
  WriteMemory memory;
  EXPECT_EQ(error_of([&] { ContentWriter(0, nullptr, memory); }), EINVAL);
  EXPECT_EQ(error_of([&] { ContentWriter(5000, nullptr, memory); }), EINVAL);
}

TEST(ContentWriter, OneByte) {
  TestPool test(32);
  File file(test);
  file.put(0, 1);
  EXPECT_EQ(file.writer.length(), 1u);
  EXPECT_EQ(file.commit(true), 1u);
  ASSERT_EQ(file.extents.size(), 1u);
  EXPECT_EQ(file.extents[0].length, 1u);
  file.verify();
}

TEST(ContentWriter, SequentialSmallWritesOverSeveralZones) {
  TestPool test(32);
  File file(test);
  const auto before = test.device->counters().written_bytes;
  for (std::uint64_t at = 0; at < 6 * kZone + 777; at += 1000)
    file.put(at, 1000);
  EXPECT_EQ(test.device->counters().written_bytes, before);
  EXPECT_EQ(file.commit(true), 7u);
  EXPECT_EQ(file.extents.size(), 7u);
  for (std::size_t i = 0; i < file.extents.size(); ++i) {
    EXPECT_EQ(file.extents[i].file_offset, i * kZone);
    EXPECT_EQ(file.extents[i].position, 0u);
  }
  file.verify();
  test.activate();
  file.verify();
}

TEST(ContentWriter, MblocksLieNextToEachOther) {
  TestPool test(64);
  File file(test);
  file.put(0, 8 * kZone);
  file.commit(true);
  for (std::size_t i = 1; i < file.extents.size(); ++i) {
    EXPECT_EQ(test.pool->find(file.extents[i].object)->layout.first_zone,
              test.pool->find(file.extents[i - 1].object)->layout.first_zone + 1);
  }
}

TEST(ContentWriter, BigAlignedWritesGoStraightToTheDevice) {
  TestPool test(64, 1u << 20);
  File file(test, 1u << 20);
  const auto before = test.device->counters();
  for (std::uint64_t i = 0; i < 8; ++i)
    file.put(i << 20, 1u << 20);
  const auto after = test.device->counters();
  EXPECT_EQ(after.written_bytes - before.written_bytes, 8u << 20);
  EXPECT_EQ(after.writes - before.writes, 8u);
  file.commit(true);
  file.verify();
}

// O_DIRECT: random pages go to the device, but programs that patch the beginning of a file work.
TEST(ContentWriter, PagesOutOfOrderThatPreferTheDevice) {
  TestPool test(64, 1u << 20);
  File file(test, 1u << 20);
  const auto write = [&](std::uint64_t page) {
    const std::uint64_t offset = page * kPageSize;
    file.writer.write(offset, test::content(offset, kPageSize), Buffering::device);
    file.expect(offset, kPageSize);
  };
  const auto written = [&] { return test.device->counters().written_bytes; };
  constexpr std::uint64_t kNext = HeldPages::kPieceSize / kPageSize;  // after the first piece
  const auto before = written();
  write(7);
  EXPECT_EQ(written(), before);
  write(kNext + 7);
  EXPECT_EQ(written(), before + kPageSize);
  write(kNext + 3);
  EXPECT_EQ(written(), before + 2 * kPageSize);
  EXPECT_EQ(error_of([&] { write(kNext + 7); }), EINVAL);
  write(7);
  write(kNext + 8);  // at the end of the file: more will follow
  write(kNext + 9);
  EXPECT_EQ(written(), before + 2 * kPageSize);
  file.verify_read_back();
  file.commit(true);
  file.verify();
}

TEST(ContentWriter, BigUnalignedWrites) {
  TestPool test(64);
  File file(test);
  for (std::uint64_t at = 13, i = 0; i < 5; ++i, at += 700'001)
    file.put(at, 700'001);
  file.commit(true);
  file.verify();
}

TEST(ContentWriter, ReversedOrder) {
  for (const std::size_t size : {511, 4096, 5000, 200'000}) {
    SCOPED_TRACE(size);
    TestPool test(32);
    File file(test);
    for (std::uint64_t i = 1'000'000 / size; i-- > 0;)
      file.put(i * size, size);
    file.commit(true);
    file.verify();
  }
}

TEST(ContentWriter, RandomOrder) {
  for (unsigned seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    TestPool test(32);
    File file(test);
    auto pieces = random_pieces(random, 2'000'000, seed % 2 == 0 ? 3000 : 300'000, seed % 3 == 0);
    std::shuffle(pieces.begin(), pieces.end(), random);
    for (const Piece& piece : pieces) {
      file.put(piece.offset, piece.length);
      if (random() % 50 == 0) file.writer.drain();
    }
    file.commit(true);
    file.verify();
  }
}

TEST(ContentWriter, RandomOrderWithSealsInBetween) {
  for (unsigned seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    TestPool test(160);
    File file(test);
    auto pieces = random_pieces(random, 1'500'000, 40'000, true);
    std::shuffle(pieces.begin(), pieces.end(), random);
    for (const Piece& piece : pieces) {
      file.put(piece.offset, piece.length);
      if (random() % 16 == 0) file.commit(false);
    }
    file.commit(true);
    file.verify();
  }
}

TEST(ContentWriter, OverwritingTheDeviceIsRefusedAndChangesNothing) {
  TestPool test(32);
  File file(test);
  file.put(1000, 1000);
  file.put(kZone, 200'000);
  EXPECT_EQ(error_of([&] { file.write(0, kZone + 1); }), EINVAL);
  EXPECT_EQ(error_of([&] { file.write(kZone + 100, 1); }), EINVAL);
  file.put(0, 1000);
  file.put(2000, 500);
  file.commit(false);
  EXPECT_EQ(error_of([&] { file.write(2499, 2); }), EINVAL);
  file.put(2500, 1);
  file.commit(true);
  file.verify();
}

TEST(ContentWriter, TooFar) {
  TestPool test(32);
  File file(test);
  constexpr std::uint64_t kMax = (std::uint64_t{1} << 63) - 1;
  EXPECT_EQ(error_of([&] { file.write(kMax, 1); }), EFBIG);
  EXPECT_EQ(error_of([&] { file.write(~std::uint64_t{0}, 1); }), EFBIG);
  EXPECT_EQ(error_of([&] { file.writer.declare_length(kMax + 1); }), EFBIG);
  EXPECT_EQ(file.writer.length(), 0u);
  file.write(kMax - 1, 1);
  EXPECT_EQ(file.writer.length(), kMax);
  const auto sealed = file.writer.seal(true);
  ASSERT_EQ(sealed.extents.size(), 1u);
  EXPECT_EQ(sealed.extents[0].file_offset + sealed.extents[0].length, kMax);
}

TEST(ContentWriter, GapsReadAsZeros) {
  TestPool test(32);
  File file(test);
  file.put(10'000, 100);
  file.put(100'000, 20'000);
  file.put(5 * kZone + 50'000, 10);  // whole zones between have no mblock
  EXPECT_EQ(file.commit(true), 2u);
  EXPECT_EQ(file.extents.size(), 2u);
  file.verify();
}

TEST(ContentWriter, DeclaredLength) {
  TestPool test(32);
  File file(test);
  const auto before = test.used_zones();
  file.writer.declare_length(3 * kZone);
  EXPECT_EQ(file.writer.length(), 3 * kZone);
  EXPECT_EQ(test.used_zones(), before);
  file.writer.declare_length(10);
  EXPECT_EQ(file.writer.length(), 3 * kZone);
  file.put(100, 100);
  file.expected.resize(3 * kZone);
  file.commit(true);
  file.verify();
  EXPECT_EQ(error_of([&] { file.write(500, 1); }), EALREADY);
}

TEST(ContentWriter, SealsOfASequentialWriterDoNotFillZones) {
  TestPool test(64);
  File file(test);
  std::uint64_t at = 0;
  const auto before = test.device->counters().written_bytes;
  for (int i = 0; i < 10; ++i, at += 5000) {
    file.put(at, 5000);
    EXPECT_EQ(file.commit(false), 1u);
  }
  // 5000 bytes touch at most 3 pages; the rest is metadata of the commits.
  EXPECT_LT(test.device->counters().written_bytes - before, 10u * (3 + 16) * kPageSize);
  file.put(at, 3 * kZone);  // the windows are shifted from here on
  file.commit(true);
  file.verify();
  test.activate();
  file.verify();
}

TEST(ContentWriter, SealBetweenOpenWindows) {
  TestPool test(64);
  File file(test);
  file.put(0, 100'000);
  file.commit(false);
  file.put(kZone + 10'000, 100);  // the next zone's own window
  file.put(100'000,
           kZone - 95'000);  // a window from a page inside the first zone up to that one
  file.put(kZone + 200'000, 5'000);
  file.commit(true);
  file.verify();
}

TEST(ContentWriter, ShiftedWindowThenItsNeighbour) {
  TestPool test(64);
  File file(test);
  file.put(0, 100'000);
  file.commit(false);
  file.put(100'000, 8192);                // window [98304, 98304 + zone)
  file.put(kZone + 200'000, 10'000);      // beyond it, in the second zone
  file.put(kZone + 10'000, 10'000);       // inside it, in the second zone
  file.put(kZone + 98'304 - 5000, 9000);  // over its end
  file.commit(true);
  file.verify();
}

TEST(ContentWriter, DiscardThenRewrite) {
  TestPool test(32);
  const std::uint32_t before = test.used_zones();
  File file(test);
  file.write(0, 2 * kZone + 5000);
  file.write(3 * kZone + 100, 100);
  file.writer.declare_length(10 * kZone);
  file.writer.discard();
  EXPECT_EQ(file.writer.length(), 0u);
  EXPECT_EQ(test.used_zones(), before);
  file.put(100, 3000);
  file.commit(false);
  file.write(3100, 1000);
  file.write(kZone, 1000);
  file.writer.discard();
  EXPECT_EQ(file.writer.length(), 3100u);
  EXPECT_EQ(error_of([&] { file.write(3000, 10); }), EINVAL);
  file.put(3100, 500);
  file.commit(true);
  file.verify();
}

TEST(ContentWriter, AbortsWhatWasNotSealed) {
  TestPool test(32);
  const std::uint32_t before = test.used_zones();
  {
    File file(test);
    file.write(0, 3 * kZone);
    file.write(4 * kZone + 1, 10);
    EXPECT_GT(test.used_zones(), before);
  }
  EXPECT_EQ(test.used_zones(), before);
}

TEST(ContentWriter, DrainWritesWholePages) {
  TestPool test(32);
  File file(test);
  const auto written = [&] { return test.device->counters().written_bytes; };
  const auto before = written();
  constexpr std::uint64_t kLarge = 20 * kPageSize;
  static_assert(kLarge > Tunables::Writing{}.defer_size);
  file.put(0, kLarge + 100);
  EXPECT_EQ(written(), before);
  EXPECT_FALSE(file.writer.is_drained());
  file.writer.drain();
  EXPECT_TRUE(file.writer.is_drained());
  EXPECT_EQ(written(), before + kLarge + kPageSize);
  file.put(kLarge + 100, 3996);  // completes the page
  file.put(50, 10);              // content that is still in memory can be written again
  file.writer.drain();
  EXPECT_EQ(written(), before + kLarge + 3 * kPageSize);
  file.commit(true);
  file.verify();
}

TEST(ContentWriter, DrainLeavesTheEndOfASmallFile) {
  TestPool test(32);
  File file(test);
  const auto before = test.device->counters().written_bytes;
  file.put(0, 10'000);
  EXPECT_TRUE(file.writer.is_drained());
  file.writer.drain();
  EXPECT_EQ(test.device->counters().written_bytes, before);
  file.commit(true);
  file.verify();
}

TEST(ContentWriter, SealNowKeepsASmallFileInMemory) {
  for (const std::size_t size : {0u, 1u, 4096u, 10'000u, 64u << 10}) {
    TestPool test(32);
    File file(test);
    file.put(0, size);
    const auto before = test.device->counters();
    const auto sealed = file.writer.try_seal();
    ASSERT_TRUE(sealed) << size;
    EXPECT_EQ(test.device->counters().writes, before.writes);
    EXPECT_EQ(test.device->counters().reads, before.reads);
    ASSERT_EQ(sealed->mblocks.size(), size > 0 ? 1u : 0u);
    EXPECT_EQ(sealed->extents.size(), sealed->mblocks.size());
    EXPECT_EQ(error_of([&] { file.put(size, 1); }), EALREADY);
    file.commit(*sealed);
    file.verify();
  }
}

TEST(ContentWriter, SealNowLeavesTheRestToSeal) {
  const std::vector<std::vector<Piece>> cases = {
      {{0, Tunables::Writing{}.defer_size + 1}},  // too much
      {{kPageSize, 100}},                         // a gap before it
      {{0, 100}, {10 * kPageSize, 100}},          // and between
      {{kZone - 100, 200}},                       // two zones
      {{0, 2 * kZone}, {2 * kZone, 100}},         // most is on the device
  };
  for (const auto& pieces : cases) {
    SCOPED_TRACE(testing::Message() << pieces[0].offset << ", " << pieces[0].length);
    TestPool test(32);
    File file(test);
    for (const Piece& piece : pieces)
      file.put(piece.offset, piece.length);
    EXPECT_FALSE(file.writer.try_seal());
    file.commit(true);
    file.verify();
  }
}

TEST(ContentWriter, SealNowAfterAFailure) {
  TestPool test(32);
  File file(test);
  file.put(0, 100);
  file.allocations_left = 0;
  EXPECT_EQ(error_of([&] { file.write(kZone, 100); }), ENOSPC);
  EXPECT_FALSE(file.writer.try_seal());
  EXPECT_EQ(error_of([&] { file.writer.seal_deferring(); }), ENOSPC);
}

TEST(ContentWriter, MorePartialPagesThanAreKept) {
  constexpr std::uint64_t kPages = 1300;
  TestPool test(64);
  WriteMemory memory({.max_bytes = 64u << 20, .max_per_file = 1u << 20});
  File file(test, kZone, memory);
  const auto before = test.device->counters().written_bytes;
  for (std::uint64_t page = 0; page < kPages; ++page)
    file.put(page * kPageSize + 10, 500);
  EXPECT_LE(memory.bytes(), 2u << 20);
  EXPECT_GE(test.device->counters().written_bytes - before, 3u << 20);
  for (std::uint64_t page = 0; page < kPages; ++page)
    file.put(page * kPageSize + 2000, 100);
  for (std::uint64_t page = kPages; page-- > 0;) {
    if (page % 3 == 0) continue;
    file.put(page * kPageSize, 10);
    file.put(page * kPageSize + 510, 1490);
    file.put(page * kPageSize + 2100, kPageSize - 2100);
  }
  file.commit(true);
  file.verify();
}

}  // namespace
}  // namespace mpool

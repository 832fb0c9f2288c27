// Files that are sealed while they are written, and go on in the same mblocks.
#include <cerrno>
#include <map>
#include <random>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "engine/object/content_writer.h"
#include "tests/engine/object/content_support.h"

namespace mpool {
namespace {

using test::content;
using test::error_of;
using test::File;
using test::kZone;
using test::TestPool;

TEST(SealedMblock, TakesWhatFollows) {
  for (const std::uint64_t length : {100u, 4096u, 5000u}) {
    TestPool test(64);
    const std::uint32_t before = test.used_zones();
    File file(test);
    std::uint64_t at = 0;
    for (; at + length <= kZone; at += length) {
      file.put(at, length);
      ASSERT_EQ(file.commit(false), 1u);
    }
    EXPECT_EQ(file.mblocks, 1u);
    EXPECT_EQ(test.used_zones(), before + 1);
    file.verify_read_back();
    file.put(at, kZone);  // over the end of the zone
    file.commit(true);
    EXPECT_EQ(file.mblocks, 2u);
    EXPECT_EQ(test.used_zones(), before + 2);
    file.verify();
    test.activate();
    file.verify();
  }
}

TEST(SealedMblock, IsReleasedWhenItIsFull) {
  TestPool test(64);
  File file(test);
  file.put(0, kZone);
  file.commit(false);
  file.put(kZone, 10);
  const ContentWriter::Sealed sealed = file.writer.seal(false);
  ASSERT_EQ(sealed.mblocks.size(), 1u);
  EXPECT_FALSE(sealed.mblocks[0].extended);
  file.commit(sealed);
  file.commit(true);
  file.verify();
}

TEST(SealedMblock, EndsWhereItHasGaps) {
  TestPool test(64);
  File file(test);
  file.put(0, 8192);
  file.commit(false);
  file.put(40'000, 5000);
  EXPECT_EQ(file.commit(false), 1u);
  EXPECT_EQ(file.mblocks, 1u);
  file.put(8192, 1000);
  file.put(60'000, 1000);
  file.commit(true);
  EXPECT_GT(file.mblocks, 1u);
  file.verify();
  test.activate();
  file.verify();
}

TEST(SealedMblock, AnUnusedOneStays) {
  TestPool test(64);
  File file(test);
  file.put(0, 100);
  file.commit(false);
  EXPECT_EQ(file.commit(false), 0u);
  file.put(100, 100);
  EXPECT_EQ(file.commit(false), 1u);
  EXPECT_EQ(file.commit(true), 0u);
  EXPECT_EQ(file.mblocks, 1u);
  file.verify();
}

TEST(SealedMblock, OneThatWasNotCommittedIsAborted) {
  TestPool test(64);
  const std::uint32_t before = test.used_zones();
  {
    File file(test);
    file.write(0, 100);
    (void)file.writer.seal(false);
    file.write(100, 100);
    (void)file.writer.seal(false);
    EXPECT_EQ(test.used_zones(), before + 1);
  }
  test.pool->wait_for_discards(std::chrono::seconds(10));
  EXPECT_EQ(test.used_zones(), before);
}

TEST(SealedMblock, OneThatATruncationDeletesIsNotWrittenAgain) {
  TestPool test(64);
  File file(test);
  file.put(0, kZone);
  file.put(kZone, 5000);
  const ContentWriter::Sealed first = file.writer.seal(false);
  file.commit(first);
  const ObjectId deleted = first.extents.back().object;
  file.writer.truncate(kZone - 10);
  EXPECT_EQ(error_of([&] { file.write(kZone, 10); }), EINVAL);
  file.write(kZone + 5000, 20'000);
  const ContentWriter::Sealed second = file.writer.seal(false);
  for (const SealedMblock& mblock : second.mblocks)
    EXPECT_NE(mblock.object.id, deleted);
  EXPECT_EQ(second.mblocks.size(), 1u);
}

// A page with bytes of a pack, or of another mblock, before those of this one.
TEST(SealedMblock, ATruncationBeforeItsFirstByteDeletesIt) {
  TestPool test(64);
  File file(test);
  file.put(0, 100);
  file.put(2 * kPageSize, 10);  // a gap: the mblock ends
  file.commit(false);
  file.put(150, 100);
  const ContentWriter::Sealed sealed = file.writer.seal(false);
  file.commit(sealed);
  file.write(120, 10);
  file.writer.truncate(125);
  file.write(250, 1000);
  const ContentWriter::Sealed after = file.writer.seal(false);
  ASSERT_EQ(after.mblocks.size(), 1u);
  EXPECT_NE(after.mblocks[0].object.id, sealed.mblocks[0].object.id);
  EXPECT_SAME_BYTES(file.read_back(120, 5), content(120, 5));
}

TEST(SealedMblock, TruncationAndFurtherBytesInOnePage) {
  TestPool test(64);
  File file(test);
  file.put(0, 5000);
  file.commit(false);
  file.writer.truncate(4500);
  EXPECT_EQ(error_of([&] { file.write(4600, 10); }), EINVAL);
  file.write(5000, 1000);
  const ContentWriter::Sealed sealed = file.writer.seal(false);
  ASSERT_EQ(sealed.extents.size(), 1u);
  EXPECT_EQ(sealed.extents[0].file_offset, 5000u);
  EXPECT_TRUE(sealed.mblocks.at(0).extended);
  std::vector<std::byte> expected = content(0, 6000);
  std::fill(expected.begin() + 4500, expected.begin() + 5000, std::byte{0});
  EXPECT_SAME_BYTES(file.read_back(0, 10'000), expected);
}

TEST(SealedMblock, KeepsZonesThatWereSetAside) {
  TestPool test(64);
  File file(test);
  file.writer.set_aside(0, 2 * kZone);
  file.allocations_left = 0;
  std::uint64_t at = 0;
  for (; at < 2 * kZone; at += 16'384) {
    file.put(at, 16'384);
    file.commit(false);
  }
  EXPECT_EQ(error_of([&] { file.write(at, 1); }), ENOSPC);
}

// Whatever is written, sealed, truncated and evicted: a byte that a seal recorded stays as it is on
// the device.
TEST(SealedMblock, RecordedBytesNeverChange) {
  std::size_t checked = 0;
  std::size_t extended = 0;
  for (unsigned seed = 0; seed < 30; ++seed) {
    std::mt19937 random(seed);
    TestPool test(256);
    WriteMemory memory({.max_bytes = 8u << 20, .max_per_file = 256u << 10});
    File file(test, kZone, memory);
    std::vector<Extent> recorded;
    std::map<std::uint64_t, std::vector<std::byte>> bytes;  // by offset in the file, of an extent
    const auto check = [&] {
      for (const Extent& extent : recorded) {
        const auto object = test.pool->find(extent.object);
        ASSERT_TRUE(object);
        std::vector<std::byte> found(extent.length);
        read_mblock(*test.pool, *object, extent.position, found);
        ASSERT_SAME_BYTES(found, bytes.at(extent.file_offset)) << "seed " << seed;
        ++checked;
      }
    };
    for (int step = 0; step < 60; ++step) {
      const std::uint64_t end = file.writer.length();
      switch (random() % 8) {
        case 0: {
          const std::uint64_t length = end - std::min<std::uint64_t>(end, random() % 9000);
          if (length == 0) break;
          file.writer.truncate(length);
          break;
        }
        case 1:
        case 2: {
          const ContentWriter::Sealed sealed = file.writer.seal(false);
          for (const SealedMblock& mblock : sealed.mblocks)
            extended += mblock.extended ? 1 : 0;
          file.commit(sealed);
          for (const Extent& extent : sealed.extents) {
            recorded.push_back(extent);
            bytes[extent.file_offset] = file.read_back(extent.file_offset, extent.length);
          }
          break;
        }
        case 3:
          (void)error_of([&] { file.write(end + random() % 20'000, 1 + random() % 9000); });
          break;
        case 4:
          (void)error_of([&] {
            file.write(end - std::min<std::uint64_t>(end, random() % 50'000), 1 + random() % 300);
          });
          break;
        case 5:
          memory.relieve(8u << 20);
          break;
        default:
          (void)error_of([&] { file.write(end, 1 + random() % 70'000); });
      }
      check();
    }
  }
  EXPECT_GT(checked, 1000u);
  EXPECT_GT(extended, 20u);
}

}  // namespace
}  // namespace mpool

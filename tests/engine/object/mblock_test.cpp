#include "engine/object/mblock.h"

#include <gtest/gtest.h>

#include "tests/engine/object/support.h"

namespace mpool {
namespace {

using test::content;
using test::error_of;
using test::TestPool;

AlignedBuffer pages(std::uint64_t offset, std::size_t length) {
  AlignedBuffer buffer(length);
  const auto bytes = content(offset, length);
  std::memcpy(buffer.data(), bytes.data(), length);
  return buffer;
}

ObjectRecord commit(TestPool& test, MblockWriter& writer) {
  const ObjectRecord& object = writer.finish();
  test.device->flush();
  test.pool->commit(std::span(&object, 1));
  writer.release();
  return test.pool->find(object.id).value();
}

TEST(Mblock, StoredContentIsFoundAgain) {
  TestPool test(32);
  const auto bytes = content(0, 100'000);
  const ObjectId id = store_mblock(*test.pool, {}, bytes);
  test.activate();
  const auto object = test.pool->find(id);
  ASSERT_TRUE(object);
  EXPECT_EQ(object->written_length, round_up(bytes.size(), kPageSize));
  std::vector<std::byte> found(object->written_length);
  read_mblock(*test.pool, *object, 0, found);
  EXPECT_SAME_BYTES(std::span(found).first(bytes.size()), bytes);
  for (std::size_t i = bytes.size(); i < found.size(); ++i)
    ASSERT_EQ(found[i], std::byte{0});
}

TEST(Mblock, EmptyContent) {
  TestPool test(32);
  const auto object = test.pool->find(store_mblock(*test.pool, {}, {}));
  ASSERT_TRUE(object);
  EXPECT_EQ(object->written_length, 0u);
  read_mblock(*test.pool, *object, 0, {});
  std::byte byte;
  EXPECT_EQ(error_of([&] { read_mblock(*test.pool, *object, 0, {&byte, 1}); }), EINVAL);
}

TEST(Mblock, ReadsAtAnyOffsetIntoAnyMemory) {
  TestPool test(32);
  const auto bytes = content(0, 40 * kPageSize);
  const auto object = test.pool->find(store_mblock(*test.pool, {}, bytes));
  ASSERT_TRUE(object);
  AlignedBuffer memory(bytes.size() + 2 * kPageSize);
  for (const std::size_t offset : {0, 1, 4095, 4096, 5000, 81920}) {
    for (const std::size_t length : {0, 1, 4095, 4096, 4097, 20480, 70000}) {
      for (const std::size_t shift :
           {0, 1, 3192, 4095}) {  // 3192: page-aligned after a head of 904 bytes
        const ByteSpan into = memory.span(shift, length);
        read_mblock(*test.pool, *object, offset, into);
        ASSERT_SAME_BYTES(into, std::span(bytes).subspan(offset, length))
            << offset << " " << length << " " << shift;
      }
    }
  }
}

TEST(Mblock, ReadOutsideIsRefused) {
  TestPool test(32);
  auto object = test.pool->find(store_mblock(*test.pool, {}, content(0, 2 * kPageSize)));
  ASSERT_TRUE(object);
  std::vector<std::byte> into(kPageSize);
  EXPECT_EQ(error_of([&] { read_mblock(*test.pool, *object, kPageSize + 1, into); }), EINVAL);
  EXPECT_EQ(error_of([&] { read_mblock(*test.pool, *object, ~std::uint64_t{0}, into); }), EINVAL);
  // A length on the media that is greater than the zone.
  object->written_length = ~std::uint64_t{0};
  EXPECT_EQ(error_of([&] { read_mblock(*test.pool, *object, TestPool::kZoneSize, into); }), EINVAL);
}

TEST(Mblock, WrittenLengthInsideAPage) {
  TestPool test(32);
  const auto bytes = content(0, 2 * kPageSize);
  auto object = test.pool->find(store_mblock(*test.pool, {}, bytes));
  ASSERT_TRUE(object);
  object->written_length = 5000;
  std::vector<std::byte> into(5000);
  read_mblock(*test.pool, *object, 0, into);
  EXPECT_SAME_BYTES(into, std::span(bytes).first(5000));
  EXPECT_EQ(error_of([&] { read_mblock(*test.pool, *object, 1, into); }), EINVAL);
}

TEST(MblockWriter, AnyOrderAndGapsAreZeros) {
  TestPool test(32);
  MblockWriter writer(*test.pool, {});
  EXPECT_EQ(writer.capacity(), TestPool::kZoneSize);
  writer.write(20 * kPageSize, pages(7, 2 * kPageSize).span());
  writer.write(3 * kPageSize, pages(9, kPageSize).span());
  writer.write(3 * kPageSize, pages(0, kPageSize).span());  // again
  const ObjectRecord object = commit(test, writer);
  EXPECT_EQ(object.written_length, 22 * kPageSize);
  std::vector<std::byte> expected(22 * kPageSize);
  std::memcpy(&expected[3 * kPageSize], pages(0, kPageSize).data(), kPageSize);
  std::memcpy(&expected[20 * kPageSize], pages(7, 2 * kPageSize).data(), 2 * kPageSize);
  std::vector<std::byte> found(expected.size());
  read_mblock(*test.pool, object, 0, found);
  EXPECT_SAME_BYTES(found, expected);
}

TEST(MblockWriter, ReadsBackWhatWasWritten) {
  TestPool test(32);
  MblockWriter writer(*test.pool, {});
  const AlignedBuffer written = pages(5, 2 * kPageSize);
  writer.write(kPageSize, written.span());
  AlignedBuffer found(2 * kPageSize);
  writer.read(kPageSize, found.span());
  EXPECT_SAME_BYTES(found.span(), written.span());
  EXPECT_EQ(error_of([&] { writer.read(0, found.span()); }), EINVAL);
  EXPECT_EQ(error_of([&] { writer.read(kPageSize, found.span(0, 100)); }), EINVAL);
}

TEST(MblockWriter, RefusesWhatIsNotWholePagesInside) {
  TestPool test(32);
  MblockWriter writer(*test.pool, {});
  const AlignedBuffer page = pages(0, kPageSize);
  EXPECT_EQ(error_of([&] { writer.write(100, page.span()); }), EINVAL);
  EXPECT_EQ(error_of([&] { writer.write(0, page.span(0, 512)); }), EINVAL);
  EXPECT_EQ(error_of([&] { writer.write(TestPool::kZoneSize, page.span()); }), EINVAL);
  EXPECT_EQ(error_of([&] { writer.write(0 - std::uint64_t{kPageSize}, page.span()); }), EINVAL);
  writer.write(TestPool::kZoneSize - kPageSize, page.span());
  writer.finish();
  EXPECT_EQ(error_of([&] { writer.write(0, page.span()); }), EALREADY);
}

TEST(MblockWriter, AbortedUnlessReleased) {
  TestPool test(32);
  const std::uint32_t before = test.used_zones();
  ObjectId id;
  {
    MblockWriter writer(*test.pool, {});
    id = writer.id();
    EXPECT_EQ(test.used_zones(), before + 1);
    writer.finish();
  }
  EXPECT_EQ(test.used_zones(), before);
  EXPECT_FALSE(test.pool->find(id));
}

TEST(MblockWriter, NoSpace) {
  TestPool test(32);
  std::vector<std::unique_ptr<MblockWriter>> writers;
  EXPECT_EQ(error_of([&] {
              while (true)
                writers.push_back(std::make_unique<MblockWriter>(*test.pool, Placement{}));
            }),
            ENOSPC);
  EXPECT_LT(writers.size(), 32u);
}

TEST(MblockWriter, FailedWrite) {
  TestPool test(32);
  MblockWriter writer(*test.pool, {});
  test.fail_write(1);
  EXPECT_EQ(error_of([&] { writer.write(0, pages(0, kPageSize).span()); }), EIO);
}

}  // namespace
}  // namespace mpool

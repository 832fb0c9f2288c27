#include "engine/cache/collection.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/aligned_buffer.h"
#include "engine/base/error.h"
#include "engine/cache/advice.h"
#include "engine/object/mblock.h"
#include "tests/engine/object/support.h"

namespace mpool::test {
namespace {

using Members = std::vector<ObjectId>;
using testing::ElementsAre;

// Content that is not zero.
std::string text_of(std::size_t length, char first) {
  std::string text(length, first);
  for (std::size_t i = 0; i < length; i += 1000)
    text[i] = static_cast<char>('a' + i / 1000 % 26);
  return text;
}

class CollectionTest : public testing::Test {
 protected:
  ObjectId store(const std::string& content) {
    return store_mblock(*test_.pool, {}, as_bytes(content.data(), content.size()));
  }
  static std::string read(const Collection& map, std::uint64_t offset, std::size_t size) {
    std::string text(size, '?');
    map.read(offset, std::as_writable_bytes(std::span(text)));
    return text;
  }
  int refusal(Members members, std::uint64_t max_size = Collection::kMaxSize) {
    return errno_of([&] { Collection(references_, std::move(members), max_size); });
  }
  template <typename Call>
  static int errno_of(const Call& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.code();
    }
    return 0;
  }

  TestPool test_{64};
  References references_{*test_.pool, References::Deletes::at_once};
};

TEST_F(CollectionTest, TheStrideIsAPowerOfTwoThatHoldsTheLongest) {
  const ObjectId page = store("x");
  const ObjectId three = store(text_of(3 * kPageSize, 'b'));
  const ObjectId whole = store(text_of(TestPool::kZoneSize, 'c'));
  EXPECT_EQ(Collection(references_, {page}).stride(), kPageSize);
  EXPECT_EQ(Collection(references_, {page, three}).stride(), 4 * kPageSize);
  const Collection map(references_, {three, whole, page});
  EXPECT_EQ(map.stride(), TestPool::kZoneSize);
  EXPECT_EQ(map.size(), 3 * TestPool::kZoneSize);
  EXPECT_EQ(map.length(0), 3 * kPageSize);
  EXPECT_EQ(map.length(1), TestPool::kZoneSize);
}

TEST_F(CollectionTest, AMemberIsItsContentAndZeros) {
  const std::string short_text = text_of(3 * kPageSize, 'b');
  const std::string long_text = text_of(5 * kPageSize, 'c');
  const Collection map(references_, {store(short_text), store(long_text), store(short_text)});
  const std::uint64_t stride = 8 * kPageSize;
  std::string expected;
  for (const std::string& text : {short_text, long_text, short_text})
    expected += text + std::string(stride - text.size(), '\0');
  ASSERT_EQ(map.size(), expected.size());
  EXPECT_EQ(read(map, 0, expected.size()), expected);
  for (const auto& [offset, size] : {std::pair<std::uint64_t, std::size_t>{0, 1},
                                     {stride - 3, 7},
                                     {3 * kPageSize - 5, 10},
                                     {stride + 1234, 2 * stride - 2000},
                                     {expected.size(), 0},
                                     {expected.size() - 1, 1}}) {
    EXPECT_EQ(read(map, offset, size), expected.substr(offset, size)) << offset << ", " << size;
  }
  EXPECT_EQ(errno_of([&] { read(map, expected.size() - 1, 2); }), EINVAL);
  EXPECT_EQ(errno_of([&] { read(map, ~std::uint64_t{0}, 2); }), EINVAL);
}

TEST_F(CollectionTest, TheLayoutIsThatOfTheContent) {
  const ObjectId first = store(text_of(3 * kPageSize, 'b'));
  const ObjectId second = store(text_of(4 * kPageSize, 'c'));
  const auto layout = Collection(references_, {second, first, second}).layout();
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->size, 12 * kPageSize);
  ASSERT_EQ(layout->pieces.size(), 3u);
  const auto place = [&](ObjectId id) { return test_.pool->offset_of(*test_.pool->find(id)); };
  EXPECT_EQ(layout->pieces[0].device_offset, place(second));
  EXPECT_EQ(layout->pieces[1].device_offset, place(first));
  EXPECT_EQ(layout->pieces[1].file_offset, 4 * kPageSize);
  EXPECT_EQ(layout->pieces[1].length, 3 * kPageSize);
  EXPECT_EQ(layout->pieces[2].device_offset, place(second));
}

TEST_F(CollectionTest, RefusesWhatCannotBeAMember) {
  const ObjectId mblock = store("x");
  const ObjectRecord uncommitted = test_.pool->allocate(ObjectType::mblock, 0, {});
  const ObjectRecord mlog = test_.pool->allocate(ObjectType::mlog, TestPool::kZoneSize, {});
  test_.pool->commit(std::span(&mlog, 1));
  EXPECT_EQ(refusal({}), EINVAL);
  EXPECT_EQ(refusal({mblock, mlog.id}), EINVAL);
  EXPECT_EQ(refusal({mblock, uncommitted.id}), ENOENT);
  EXPECT_EQ(refusal({mblock, ObjectId::make(12345, ObjectType::mblock, 1)}), ENOENT);
  EXPECT_EQ(refusal({mblock, mblock}, 2 * kPageSize), 0);
  EXPECT_EQ(refusal({mblock, mblock, mblock}, 2 * kPageSize), E2BIG);
  // A refusal leaves no hold.
  test_.pool->remove(std::span(&mblock, 1));
}

TEST_F(CollectionTest, MembersAreNotDeletedBeforeItsEnd) {
  const ObjectId mblock = store(text_of(kPageSize, 'b'));
  {
    const Collection map(references_, {mblock, mblock});
    const Collection other(references_, {mblock});
    EXPECT_EQ(references_.counts().held[static_cast<std::size_t>(ObjectHolder::map)], 1u);
    EXPECT_EQ(errno_of([&] { test_.pool->remove(std::span(&mblock, 1)); }), EBUSY);
    EXPECT_TRUE(references_.release(Members{mblock}).empty());
    EXPECT_EQ(read(map, 0, kPageSize), text_of(kPageSize, 'b'));
    EXPECT_EQ(refusal({mblock}), ENOENT) << "it is being deleted";
  }
  EXPECT_THAT(references_.release({}), ElementsAre(mblock));
  references_.remove(Members{mblock});
  EXPECT_FALSE(test_.pool->find(mblock));
}

TEST(AdviceTest, WhatIsSetIsNewerThanWhatIsRead) {
  FileAdvice advice;
  EXPECT_EQ(advice.get(), Advice::cold);
  advice.init(Advice::warm);
  EXPECT_EQ(advice.get(), Advice::warm);
  FileAdvice changed;
  changed.set(Advice::hot);
  changed.init(Advice::warm);
  EXPECT_EQ(changed.get(), Advice::hot);
}

TEST(AdviceTest, HasNames) {
  for (const Advice advice : {Advice::cold, Advice::warm, Advice::hot, Advice::pinned})
    EXPECT_EQ(parse_advice(to_string(advice)), advice);
  EXPECT_FALSE(parse_advice("Cold"));
  EXPECT_FALSE(parse_advice(""));
}

}  // namespace
}  // namespace mpool::test

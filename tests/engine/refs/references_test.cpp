#include "engine/refs/references.h"

#include <cerrno>
#include <optional>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/object/support.h"

namespace mpool::test {
namespace {

using Deletes = References::Deletes;
using Ids = std::vector<ObjectId>;

ObjectId commit_mlog(TestPool& test) {
  const ObjectRecord mlog = test.pool->allocate(ObjectType::mlog, TestPool::kZoneSize, {});
  test.pool->commit(std::span(&mlog, 1));
  return mlog.id;
}

TEST(FileNeed, IsTheStrongestReason) {
  EXPECT_EQ(need_of(2, 1, 1), FileNeed::name);
  EXPECT_EQ(need_of(0, 1, 5), FileNeed::holder);
  EXPECT_EQ(need_of(0, 0, 5), FileNeed::references);
  EXPECT_EQ(need_of(0, 0, 5, false), FileNeed::nothing);
  EXPECT_EQ(need_of(0, 0, 0), FileNeed::nothing);
}

TEST(FileHolders, AreCountedByKind) {
  FileHolders holders;
  EXPECT_EQ(holders.total(), 0u);
  holders.add(FileHolder::open_file);
  holders.add(FileHolder::backing_file);
  holders.add(FileHolder::open_file);
  EXPECT_EQ(holders.total(), 3u);
  EXPECT_EQ(holders.count(FileHolder::open_file), 2u);
  holders.drop(FileHolder::open_file);
  EXPECT_EQ(holders.count(FileHolder::open_file), 1u);
  EXPECT_EQ(holders.count(FileHolder::call), 0u);
}

TEST(References, WhatNothingNeedsIsDeleted) {
  TestPool test(32);
  References references(*test.pool, Deletes::at_once);
  const ObjectId object = commit_mlog(test);
  const Ids deletable = references.release(Ids{object});
  EXPECT_EQ(deletable, Ids{object});
  references.remove(deletable);
  EXPECT_FALSE(test.pool->find(object));
  EXPECT_TRUE(references.waiting().empty());
  EXPECT_TRUE(references.release(Ids{object}).empty()) << "it does not exist";
}

TEST(References, AHeldObjectWaitsForItsLastHolder) {
  TestPool test(32);
  References references(*test.pool, Deletes::at_once);
  const ObjectId held = commit_mlog(test);
  const ObjectId other = commit_mlog(test);
  std::optional<References::Hold> first(std::in_place, references, ObjectHolder::log, held);
  std::optional<References::Hold> second(std::in_place, references, ObjectHolder::log, held);
  EXPECT_EQ(references.release(Ids{held, other}), Ids{other});
  references.remove(Ids{other});
  EXPECT_EQ(references.waiting(), Ids{held});
  EXPECT_EQ(references.counts().held[0], 1u);
  first.reset();
  EXPECT_TRUE(references.release({}).empty());
  second.reset();
  EXPECT_EQ(references.counts().held[0], 0u);
  EXPECT_EQ(references.release({}), Ids{held});
  references.remove(Ids{held});
  EXPECT_FALSE(test.pool->find(held));
}

TEST(References, DeletesCanBeHeldAltogether) {
  TestPool test(32);
  References references(*test.pool, Deletes::held);
  const ObjectId object = commit_mlog(test);
  EXPECT_TRUE(references.release(Ids{object}).empty());
  EXPECT_TRUE(references.release(Ids{object}).empty());
  EXPECT_EQ(references.waiting(), Ids{object});
  EXPECT_EQ(references.counts().deletes, Deletes::held);
  EXPECT_TRUE(test.pool->find(object));
  references.set_deletes(Deletes::at_once);
  EXPECT_EQ(references.release({}), Ids{object});
}

TEST(References, AFailedRemovalIsTriedAgain) {
  TestPool test(32);
  References references(*test.pool, Deletes::at_once);
  const ObjectId object = commit_mlog(test);
  const Ids deletable = references.release(Ids{object});
  test.pool->pin(object);
  EXPECT_EQ(error_of([&] { references.remove(deletable); }), EBUSY);
  test.pool->unpin(object);
  EXPECT_EQ(references.release({}), Ids{object});
  references.remove(deletable);
  EXPECT_TRUE(references.waiting().empty());
}

TEST(References, WhatDoesNotExistCannotBeHeld) {
  TestPool test(32);
  References references(*test.pool, Deletes::at_once);
  const ObjectId object = commit_mlog(test);
  references.remove(references.release(Ids{object}));
  const auto hold = [&] { References::Hold(references, ObjectHolder::log, object); };
  EXPECT_EQ(error_of(hold), ENOENT);
  EXPECT_EQ(references.counts().held[0], 0u);
}

TEST(References, ObjectsOfFailedChangesAreShown) {
  TestPool test(32);
  References references(*test.pool, Deletes::at_once);
  const ObjectRecord mlog = test.pool->allocate(ObjectType::mlog, TestPool::kZoneSize, {});
  references.keep_failed(Ids{mlog.id});
  EXPECT_EQ(references.counts().held[static_cast<std::size_t>(ObjectHolder::failed_change)], 1u);
  EXPECT_EQ(to_string(ObjectHolder::failed_change), "failed change");
}

}  // namespace
}  // namespace mpool::test

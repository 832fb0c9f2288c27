#include "engine/pool/object_table.h"

#include <algorithm>
#include <cerrno>

#include <gtest/gtest.h>

namespace mpool::test {
namespace {

ObjectRecord object(std::uint64_t uniquifier, ObjectType type = ObjectType::mblock) {
  return {.layout = {.zone_count = 1, .first_zone = uniquifier},
          .id = ObjectId::make(uniquifier, type, 1),
          .uuid = type == ObjectType::mlog ? Uuid::random() : Uuid{}};
}

TEST(ObjectTable, FindsWhatIsCommitted) {
  ObjectTable table;
  table.reserve(10);
  const ObjectRecord a = object(1, ObjectType::mlog);
  EXPECT_TRUE(table.insert(a, ObjectState::allocated));
  EXPECT_FALSE(table.insert(a, ObjectState::committed));
  EXPECT_EQ(table.find_committed(a.id), std::nullopt);
  EXPECT_EQ(table.live_count(), 0u);
  EXPECT_EQ(table.record_bytes(), 64u);
  EXPECT_TRUE(table.begin_commit(a));
  EXPECT_FALSE(table.begin_commit(a));
  EXPECT_EQ(table.state(a.id), ObjectState::committing);
  EXPECT_EQ(table.find_committed(a.id), std::nullopt);
  EXPECT_EQ(table.live(), std::vector{a}) << "a compaction writes it";
  table.set_state(a.id, ObjectState::committed);
  EXPECT_EQ(table.find_committed(a.id), a);
  EXPECT_EQ(table.live_count(), 1u);
  EXPECT_EQ(table.live_mlog_count(), 1u);
  EXPECT_EQ(table.erase(a.id), a);
  EXPECT_EQ(table.erase(a.id), std::nullopt);
  EXPECT_EQ(table.live_mlog_count(), 0u);
  EXPECT_EQ(table.state(a.id), std::nullopt);
  EXPECT_EQ(table.live_count(), 0u);
  EXPECT_EQ(table.record_bytes(), 0u);
}

TEST(ObjectTable, CountsMlogsApart) {
  ObjectTable table;
  const ObjectRecord log = object(1, ObjectType::mlog);
  table.insert(log, ObjectState::allocated);
  table.insert(object(2), ObjectState::committed);
  EXPECT_EQ(table.live_count(), 1u);
  EXPECT_EQ(table.live_mlog_count(), 0u);
  table.begin_commit(log);
  EXPECT_EQ(table.live_count(), 2u);
  EXPECT_EQ(table.live_mlog_count(), 1u);
  table.set_state(log.id, ObjectState::deleting);
  EXPECT_EQ(table.live_count(), 1u);
  EXPECT_EQ(table.live_mlog_count(), 0u);
}

TEST(ObjectTable, MarkedForDeletionIsLiveUntilItsDeletionIsLogged) {
  ObjectTable table;
  const ObjectRecord a = object(1);
  table.insert(a, ObjectState::committed);
  EXPECT_EQ(table.mark_for_deletion(object(2).id), ENOENT);
  EXPECT_TRUE(table.pin(a.id));
  EXPECT_EQ(table.mark_for_deletion(a.id), EBUSY);
  table.unpin(a.id);
  EXPECT_EQ(table.mark_for_deletion(a.id), 0);
  EXPECT_EQ(table.mark_for_deletion(a.id), ENOENT);
  EXPECT_FALSE(table.pin(a.id));
  EXPECT_EQ(table.find_committed(a.id), a);
  EXPECT_EQ(table.live_count(), 1u);
  table.set_state(a.id, ObjectState::deleting);
  EXPECT_EQ(table.find_committed(a.id), std::nullopt);
  EXPECT_EQ(table.live_count(), 0u);
  EXPECT_TRUE(table.live().empty());
}

TEST(ObjectTable, ReplaceEraseIfAndGenerations) {
  ObjectTable table;
  ObjectRecord a = object(1, ObjectType::mlog);
  EXPECT_FALSE(table.replace(a));
  EXPECT_EQ(table.set_generation(a.id, 5), std::nullopt);
  table.insert(a, ObjectState::allocated);
  EXPECT_FALSE(table.replace(a));
  EXPECT_EQ(table.set_generation(a.id, 5), std::nullopt);
  table.set_state(a.id, ObjectState::committed);
  a.uuid = Uuid::random();
  a.layout.zone_count = 3;
  EXPECT_TRUE(table.replace(a));
  EXPECT_EQ(table.find_committed(a.id), a);
  EXPECT_EQ(table.set_generation(a.id, 5), 0u);
  EXPECT_EQ(table.set_generation(a.id, 6), 5u);
  EXPECT_EQ(table.erase_if(a.id, ObjectState::allocated), std::nullopt);
  EXPECT_EQ(table.erase_if(a.id, ObjectState::committed)->generation, 6u);
}

TEST(ObjectTable, LiveIsSorted) {
  ObjectTable table;
  for (const std::uint64_t uniquifier : {5, 1, 9, 3})
    table.insert(object(uniquifier), ObjectState::committed);
  const auto live = table.live();
  ASSERT_EQ(live.size(), 4u);
  EXPECT_TRUE(std::ranges::is_sorted(live, {}, &ObjectRecord::id));
  std::vector<ObjectRecord> collected;
  table.collect_committed(collected);
  EXPECT_EQ(collected.size(), 4u);
}

}  // namespace
}  // namespace mpool::test

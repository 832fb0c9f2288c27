#include <algorithm>
#include <cerrno>
#include <set>

#include "tests/engine/pool/pool_support.h"

namespace mpool::test {
namespace {

using std::chrono::seconds;

TEST(Objects, LifeOfAnMblock) {
  const auto media = create(small_options());
  const auto pool = activate({media});
  const auto free_before = pool->class_facts(MediaClass::capacity).space.free_usable;
  ObjectRecord object = pool->allocate(ObjectType::mblock, 0, {});
  EXPECT_EQ(object.layout.zone_count, 1u);
  EXPECT_EQ(pool->find(object.id), std::nullopt);
  EXPECT_EQ(error_of([&] { pool->pin(object.id); }), ENOENT);
  EXPECT_EQ(error_of([&] { remove_object(*pool, object.id); }), ENOENT);
  EXPECT_EQ(pool->offset_of(object), object.layout.first_zone * 64 * 1024);
  EXPECT_EQ(pool->capacity_of(object), 64u * 1024);

  object.written_length = pool->capacity_of(object) + 1;
  EXPECT_EQ(error_of([&] { pool->commit(std::span(&object, 1)); }), EINVAL);
  object.written_length = 5000;
  pool->commit(std::span(&object, 1));
  EXPECT_EQ(pool->find(object.id), object);
  EXPECT_EQ(pool->object_count(), 3u);
  EXPECT_EQ(pool->object_counts().mblocks, 1u);
  EXPECT_EQ(pool->object_counts().mlogs, 2u);
  pool->commit(std::span(&object, 1));  // idempotent
  pool->abort(object);                  // no effect after the commit
  EXPECT_EQ(pool->find(object.id), object);

  remove_object(*pool, object.id);
  EXPECT_EQ(pool->find(object.id), std::nullopt);
  EXPECT_EQ(error_of([&] { remove_object(*pool, object.id); }), ENOENT);
  EXPECT_EQ(error_of([&] { pool->commit(std::span(&object, 1)); }), ENOENT);
  EXPECT_TRUE(pool->wait_for_discards(seconds(10)));
  EXPECT_EQ(pool->class_facts(MediaClass::capacity).space.free_usable, free_before);
}

TEST(Objects, MlogGenerations) {
  const auto media = create(small_options());
  ObjectId id;
  {
    const auto pool = activate({media});
    const ObjectRecord object = pool->allocate(ObjectType::mlog, 100 * 1024, {});
    id = object.id;
    EXPECT_EQ(object.layout.zone_count, 2u);
    EXPECT_FALSE(object.uuid.is_nil());
    pool->commit(std::span(&object, 1));
    pool->record_generation(id, 7);
    EXPECT_EQ(error_of([&] { pool->record_generation(id, 7); }), EINVAL);
    EXPECT_EQ(error_of([&] { pool->record_generation(id, 6); }), EINVAL);
    EXPECT_EQ(error_of([&] { pool->record_generation({id.value + (99 << 12)}, 1); }), ENOENT);
    EXPECT_EQ(error_of([&] { pool->record_generation(add_mblock(*pool).id, 1); }), ENOENT);
    EXPECT_EQ(error_of([&] { pool->record_generation(mdc_log_id(1, 0), 9); }), ENOENT);
    const MlogPlace place = pool->mlog_place(*pool->find(id));
    EXPECT_EQ(place.generation, 7u);
    EXPECT_EQ(place.capacity, 128u * 1024);
    EXPECT_EQ(place.sector_size, 512u);
  }
  EXPECT_EQ(activate({media})->find(id)->generation, 7u);
}

TEST(Objects, PinnedOnesAreNotDeleted) {
  const auto pool = activate({create(small_options())});
  const ObjectRecord a = add_mblock(*pool);
  const ObjectRecord b = add_mblock(*pool);
  pool->pin(b.id);
  pool->pin(b.id);
  EXPECT_EQ(error_of([&] { pool->remove(std::vector{a.id, b.id}); }), EBUSY);
  EXPECT_EQ(pool->find(a.id), a) << "none is deleted";
  pool->unpin(b.id);
  EXPECT_EQ(error_of([&] { remove_object(*pool, b.id); }), EBUSY);
  pool->unpin(b.id);
  EXPECT_EQ(error_of([&] { pool->remove(std::vector{a.id, a.id}); }), ENOENT);
  pool->pin(a.id);
  pool->unpin(a.id);
  pool->remove(std::vector{a.id, b.id});
  EXPECT_EQ(pool->objects().size(), 2u);
  EXPECT_EQ(error_of([&] { pool->pin(a.id); }), ENOENT);
}

TEST(Objects, AbortGivesTheSpaceBack) {
  const auto pool = activate({create(small_options())});
  const auto used = pool->class_facts(MediaClass::capacity).space.used;
  const ObjectRecord object = pool->allocate(ObjectType::mlog, 1, {});
  EXPECT_EQ(pool->class_facts(MediaClass::capacity).space.used, used + 1);
  pool->abort(object);
  pool->abort(object);
  EXPECT_TRUE(pool->wait_for_discards(seconds(10)));
  EXPECT_EQ(pool->class_facts(MediaClass::capacity).space.used, used);
  EXPECT_EQ(error_of([&] { pool->commit(std::span(&object, 1)); }), ENOENT);
}

TEST(Objects, ErrorsOfAllocate) {
  const auto pool = activate({create(small_options())});
  EXPECT_EQ(error_of([&] { pool->allocate(ObjectType::undefined, 0, {}); }), EINVAL);
  EXPECT_EQ(error_of([&] {
              pool->allocate(ObjectType::mblock, 0, {.media_class = MediaClass::staging});
            }),
            ENODEV);
  EXPECT_EQ(error_of([&] { pool->allocate(ObjectType::mlog, 1ull << 40, {}); }), ENOSPC);
  EXPECT_EQ(error_of([&] { pool->allocate(ObjectType::mlog, UINT64_MAX, {}); }), ENOSPC);
}

TEST(Objects, NearIsTriedFirst) {
  const auto pool = activate({create(small_options())});
  const ObjectRecord a = pool->allocate(ObjectType::mblock, 0, {});
  const ObjectRecord b = pool->allocate(ObjectType::mblock, 0, {.near = a.layout.first_zone});
  EXPECT_EQ(b.layout.first_zone, a.layout.first_zone + 1);
}

TEST(Objects, IdsAreNeverUsedTwice) {
  const auto media = create(small_options());
  std::set<ObjectId> ids;
  for (unsigned round = 0; round < 4; ++round) {
    const auto pool = activate({media});
    for (unsigned i = 0; i < 700; ++i) {
      const ObjectRecord object = pool->allocate(ObjectType::mblock, 0, {});
      EXPECT_TRUE(ids.insert(object.id).second) << object.id.to_string();
      pool->abort(object);
    }
    for (const auto& mdc : pool->mdcs()) {
      if (mdc.slot == 0) continue;
      EXPECT_EQ(mdc.last_checkpoint.uniquifier() % ObjectId::kCheckpointInterval, 0u);
      EXPECT_EQ(mdc.last_checkpoint.uniquifier(), mdc.last_uniquifier / 256 * 256);
    }
  }
}

TEST(Objects, UniquifiersAfterActivation) {
  const auto media = create(small_options());
  {
    const auto pool = activate({media});
    EXPECT_EQ(pool->mdcs()[0].last_uniquifier, 2u);
    EXPECT_EQ(pool->mdcs()[1].last_uniquifier, 255u);
    EXPECT_EQ(pool->mdcs()[1].last_checkpoint.value, 1u);
    const ObjectRecord object = pool->allocate(ObjectType::mblock, 0, {});
    EXPECT_EQ(object.id.uniquifier(), 256u);
    const auto mdc = pool->mdcs()[object.id.slot()];
    EXPECT_EQ(mdc.last_checkpoint, object.id);
    EXPECT_EQ(mdc.records, object.id.slot() == 1 ? 3u : 1u);
  }
  // Checkpointed in one of the two MDCs.
  const auto pool = activate({media});
  EXPECT_EQ(pool->mdcs()[1].last_uniquifier + pool->mdcs()[2].last_uniquifier, 255u + 511u);
}

TEST(Objects, Reallocate) {
  const auto media = create(small_options());
  ObjectRecord lost;
  {
    const auto pool = activate({media});
    lost = pool->allocate(ObjectType::mblock, 0, {});
    EXPECT_EQ(error_of([&] { pool->reallocate(lost.id, 0, {}); }), EEXIST);
    const auto next = ObjectId::make(lost.id.uniquifier() + 1, ObjectType::mblock, lost.id.slot());
    EXPECT_EQ(error_of([&] { pool->reallocate(next, 0, {}); }), EINVAL)
        << "will be handed out later";
  }
  const auto pool = activate({media});
  const ObjectRecord again = pool->reallocate(lost.id, 0, {});
  EXPECT_EQ(again.id, lost.id);
  pool->commit(std::span(&again, 1));
  EXPECT_EQ(error_of([&] { pool->reallocate(lost.id, 0, {}); }), EEXIST);
  for (const ObjectId never :
       {mdc_log_id(1, 0), root_log_id(0), ObjectId::make(1 << 20, ObjectType::mblock, 1),
        ObjectId::make(5, ObjectType::mblock, 200)}) {
    EXPECT_EQ(error_of([&] { pool->reallocate(never, 0, {}); }), EINVAL) << never.to_string();
  }
  const auto mlog = ObjectId::make(300, ObjectType::mlog, 1);
  if (lost.id.slot() == 1) {
    EXPECT_EQ(pool->reallocate(mlog, 100 * 1024, {}).layout.zone_count, 2u);
  }
}

TEST(Objects, SpreadOverTheMdcs) {
  CreateOptions options = small_options();
  options.mdc_count = 8;
  const auto pool = activate({create(options)});
  for (unsigned i = 0; i < 128; ++i)
    add_mblock(*pool);
  for (const auto& mdc : pool->mdcs()) {
    if (mdc.slot == 0) continue;
    EXPECT_GE(mdc.live_records, 10u) << mdc.slot;
    EXPECT_LE(mdc.live_records, 24u) << mdc.slot;
  }
}

TEST(Objects, FullDeviceThenRemove) {
  const auto media = create(small_options(), 4 * kMiB);
  const auto pool = activate({media});
  std::vector<ObjectId> ids;
  EXPECT_EQ(error_of([&] {
              for (;;)
                ids.push_back(add_mblock(*pool).id);
            }),
            ENOSPC);
  ASSERT_GT(ids.size(), 20u);
  EXPECT_EQ(pool->class_facts(MediaClass::capacity).space.free_usable, 0u);
  const ObjectRecord spare =
      pool->allocate(ObjectType::mblock, 0, {.policy = SpacePolicy::usable_then_spare});
  pool->abort(spare);
  pool->remove(std::span(ids).first(5));
  // Waits for the discards of what was just deleted.
  for (unsigned i = 0; i < 5; ++i)
    add_mblock(*pool);
  const auto objects = pool->objects();
  EXPECT_TRUE(std::ranges::is_sorted(objects, {}, &ObjectRecord::id));
  EXPECT_EQ(objects.size(), ids.size() + 2);
}

}  // namespace
}  // namespace mpool::test

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <set>
#include <thread>

#include "tests/engine/pool/pool_support.h"

namespace mpool::test {
namespace {

using std::chrono::seconds;

TEST(Objects, LifeOfAnMblock) {
  const auto media = create(small_options());
  const auto pool = activate({media});
  const auto free_before = pool->class_info(MediaClass::capacity).space.free_usable;
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
  EXPECT_EQ(pool->class_info(MediaClass::capacity).space.free_usable, free_before);
}

TEST(Objects, MblocksBecomeLonger) {
  const auto media = create(small_options());
  std::vector<ObjectRecord> objects;
  {
    const auto pool = activate({media});
    for (int i = 0; i < 8; ++i) {
      ObjectRecord& object = objects.emplace_back(pool->allocate(ObjectType::mblock, 0, {}));
      object.written_length = 4096;
    }
    ObjectRecord longer = objects[0];
    longer.written_length = 8192;
    EXPECT_EQ(error_of([&] { pool->extend(std::span(&longer, 1)); }), ENOENT) << "not committed";
    pool->commit(objects);
    longer.written_length = pool->capacity_of(longer) + 1;
    EXPECT_EQ(error_of([&] { pool->extend(std::span(&longer, 1)); }), EINVAL);
    for (std::size_t i = 0; i < objects.size(); i += 2)
      objects[i].written_length = 8192 + 4096 * i;
    const auto flushes = pool->device(MediaClass::capacity).counters().flushes;
    pool->extend(objects);
    EXPECT_EQ(pool->device(MediaClass::capacity).counters().flushes, flushes + 1);
    pool->extend(objects);
    EXPECT_EQ(pool->device(MediaClass::capacity).counters().flushes, flushes + 1) << "as before";
    ObjectRecord shorter = objects[2];
    shorter.written_length = 4096;
    pool->extend(std::span(&shorter, 1));
    for (const ObjectRecord& object : objects)
      EXPECT_EQ(pool->find(object.id), object);
  }
  const auto pool = activate({media});
  for (const ObjectRecord& object : objects)
    EXPECT_EQ(pool->find(object.id), object);
  remove_object(*pool, objects[1].id);
  EXPECT_EQ(error_of([&] { pool->extend(std::span(&objects[1], 1)); }), ENOENT);
}

TEST(Objects, ExtensionsFillAnMdcWithGarbageOnly) {
  const auto media = create(small_options());
  ObjectRecord object;
  {
    const auto pool = activate({media});
    object = pool->allocate(ObjectType::mblock, 0, {});
    pool->commit(std::span(&object, 1));
    const unsigned slot = object.id.slot();
    const auto generations = pool->mdcs()[slot].mdc.generations;
    while (pool->mdcs()[slot].mdc.generations == generations) {
      ++object.written_length;
      ASSERT_LT(object.written_length, pool->capacity_of(object));
      pool->extend(std::span(&object, 1));
    }
    ++object.written_length;
    pool->extend(std::span(&object, 1));
  }
  EXPECT_EQ(activate({media})->find(object.id), object);
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
    const MlogLocation location = pool->mlog_location(*pool->find(id));
    EXPECT_EQ(location.generation, 7u);
    EXPECT_EQ(location.capacity, 128u * 1024);
    EXPECT_EQ(location.sector_size, 512u);
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
  const auto used = pool->class_info(MediaClass::capacity).space.used;
  const ObjectRecord object = pool->allocate(ObjectType::mlog, 1, {});
  EXPECT_EQ(pool->class_info(MediaClass::capacity).space.used, used + 1);
  pool->abort(object);
  pool->abort(object);
  EXPECT_TRUE(pool->wait_for_discards(seconds(10)));
  EXPECT_EQ(pool->class_info(MediaClass::capacity).space.used, used);
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
  EXPECT_EQ(pool->class_info(MediaClass::capacity).space.free_usable, 0u);
  const ObjectRecord spare =
      pool->allocate(ObjectType::mblock, 0, {.policy = SpacePolicy::usable_then_spare});
  pool->abort(spare);
  pool->remove(std::span(ids).first(5));
  // Waits for the discards of deleted objects.
  for (unsigned i = 0; i < 5; ++i)
    add_mblock(*pool);
  const auto objects = pool->objects();
  EXPECT_TRUE(std::ranges::is_sorted(objects, {}, &ObjectRecord::id));
  EXPECT_EQ(objects.size(), ids.size() + 2);
}

CreateOptions tiny_mdcs() {
  CreateOptions options = small_options();
  options.zone_size = 4096;
  options.mdc_count = 1;
  options.mdc_capacity = 4096;
  return options;
}

ActivateOptions without_background() {
  ActivateOptions options;
  options.tunables.maintenance = {.period = {}, .usage_period = {}};
  return options;
}

TEST(Objects, MdcsAreAddedWhenAllAreFull) {
  const auto media = create(tiny_mdcs());
  const auto pool = activate({media}, without_background());
  std::vector<ObjectRecord> objects;
  for (int i = 0; i < 2600; ++i)
    objects.push_back(add_mblock(*pool));
  const auto mdcs = pool->mdcs();
  ASSERT_GT(mdcs.size(), 40u);
  EXPECT_EQ(mdcs[30].capacity, mdcs[1].capacity);
  EXPECT_EQ(mdcs[40].capacity, 2 * mdcs[1].capacity) << "255 of one size may be too few";
  const auto all = pool->objects();
  EXPECT_EQ(all.size(), objects.size() + 2);
  EXPECT_EQ(activate({media}, without_background())->objects(), all);
}

// Allocated objects can be committed, also when many threads allocate the last room at the same
// time.
TEST(Objects, AllocationsTogetherDoNotTakeMoreRoomThanAnMdcHas) {
  CreateOptions options = tiny_mdcs();
  ActivateOptions activation = without_background();
  activation.tunables.maintenance.grow_by = 0;
  const auto pool = activate({create(options)}, activation);
  std::atomic<std::uint64_t> committed = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (;;) {
        ObjectRecord object;
        if (error_of([&] { object = pool->allocate(ObjectType::mblock, 0, {}); }) != 0) return;
        object.written_length = kPageSize;
        EXPECT_EQ(error_of([&] { pool->commit(std::span(&object, 1)); }), 0);
        ++committed;
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_EQ(pool->objects().size(), committed + 2);
  EXPECT_GT(committed, 20u);
}

TEST(Objects, AnMlogGetsAnotherPlace) {
  const auto media = create(small_options());
  const auto pool = activate({media}, without_background());
  const ObjectId id = root_log_id(1);
  const ObjectRecord old = pool->find(id).value();
  const auto used = [&] {
    pool->wait_for_discards(std::chrono::seconds(10));
    return pool->class_info(MediaClass::capacity).space.used;
  };
  const auto before = used();
  const auto successor = pool->allocate_successor(id, 4 * pool->capacity_of(old));
  ASSERT_TRUE(successor);
  EXPECT_EQ(successor->layout.zone_count, 4 * old.layout.zone_count);
  EXPECT_NE(successor->uuid, old.uuid);
  EXPECT_EQ(pool->find(id), old) << "only in memory";
  pool->abandon_successor(*successor);
  EXPECT_EQ(used(), before);
  ObjectRecord next = pool->allocate_successor(id, 2 * pool->capacity_of(old)).value();
  next.generation = old.generation + 1;
  pool->succeed(next);
  EXPECT_EQ(used(), before + old.layout.zone_count);
  EXPECT_EQ(pool->find(id), next);
  EXPECT_EQ(activate({media}, without_background())->find(id), next);

  next.generation = old.generation;
  EXPECT_EQ(error_of([&] { pool->succeed(next); }), EINVAL);
  EXPECT_EQ(error_of([&] { pool->allocate_successor(ObjectId{12345}, 1); }), ENOENT);
  EXPECT_FALSE(pool->allocate_successor(id, 16 * kMiB));
  EXPECT_FALSE(pool->allocate_successor(id, 1ull << 50));
}

}  // namespace
}  // namespace mpool::test

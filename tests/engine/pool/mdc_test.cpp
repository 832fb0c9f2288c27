// Full MDCs of a pool, and the distribution of objects over them.
#include <cerrno>
#include <map>

#include "engine/pool/mdc_choice.h"
#include "tests/engine/pool/pool_support.h"

namespace mpool::test {
namespace {

// Metadata of one zone of 16 KiB and many tiny zones: the MDC is full before the device is.
CreateOptions tiny_mdc() {
  CreateOptions options;
  options.name = "p";
  options.zone_size = 4096;
  options.mdc_count = 1;
  options.mdc0_capacity = 16 * 1024;
  options.mdc_capacity = 16 * 1024;
  options.root_capacity = 16 * 1024;
  return options;
}

std::map<ObjectId, ObjectRecord> by_id(const std::vector<ObjectRecord>& objects) {
  std::map<ObjectId, ObjectRecord> result;
  for (const ObjectRecord& object : objects)
    result[object.id] = object;
  return result;
}

class FullMdc : public testing::TestWithParam<std::uint32_t> {};

TEST_P(FullMdc, IsCompacted) {
  const auto media = create(tiny_mdc(), 16 * kMiB, GetParam());
  std::map<ObjectId, ObjectRecord> kept;
  std::uint64_t generation = 0;
  {
    const auto pool = activate({media});
    for (const ObjectRecord& object : pool->objects())
      kept[object.id] = object;
    std::uint64_t compactions = 0;
    std::uint64_t used = 0;
    for (unsigned i = 0; i < 1500; ++i) {
      const ObjectRecord object = add_mblock(*pool, i % 4096);
      if (i % 20 == 0) {
        kept[object.id] = object;
      } else {
        remove_object(*pool, object.id);
      }
      if (i % 100 == 0) pool->record_generation(root_log_id(1), ++generation);
      const auto mdc = pool->mdcs()[1];
      if (mdc.used < used) ++compactions;
      used = mdc.used;
      EXPECT_EQ(mdc.live_records, kept.size() + 1);
    }
    EXPECT_GT(compactions, 2u);
    kept[root_log_id(1)].generation = generation;
    EXPECT_EQ(by_id(pool->objects()), kept);
    std::uint64_t records = 0;
    pool->read_mdc(1, [&](ConstByteSpan) { ++records; });
    EXPECT_EQ(records, pool->mdcs()[1].records);
  }
  const auto pool = activate({media});
  EXPECT_EQ(by_id(pool->objects()), kept);
}

TEST_P(FullMdc, NoMoreObjectsThenDeleteGoesOn) {
  const auto media = create(tiny_mdc(), 16 * kMiB, GetParam());
  ActivateOptions no_more_mdcs;
  no_more_mdcs.tunables.maintenance.grow_by = 0;
  const auto pool = activate({media}, no_more_mdcs);
  std::vector<ObjectId> ids;
  EXPECT_EQ(error_of([&] {
              for (;;)
                ids.push_back(add_mblock(*pool).id);
            }),
            ENOSPC);
  EXPECT_GT(pool->class_info(MediaClass::capacity).space.free_usable, 0u);
  ASSERT_GT(ids.size(), 100u);
  for (const ObjectId id : ids)
    remove_object(*pool, id);
  for (unsigned i = 0; i < 100; ++i)
    add_mblock(*pool);
  const auto objects = pool->objects();
  EXPECT_EQ(activate({media})->objects(), objects);
}

TEST_P(FullMdc, ManyAtOnce) {
  const auto media = create(tiny_mdc(), 16 * kMiB, GetParam());
  const auto pool = activate({media});
  for (unsigned round = 0; round < 12; ++round) {
    std::vector<ObjectRecord> objects;
    std::vector<ObjectId> ids;
    for (unsigned i = 0; i < 60; ++i) {
      objects.push_back(pool->allocate(ObjectType::mblock, 0, {}));
      ids.push_back(objects.back().id);
    }
    pool->commit(objects);
    EXPECT_EQ(pool->objects().size(), 62u);
    pool->remove(ids);
    EXPECT_EQ(pool->objects().size(), 2u);
  }
  EXPECT_EQ(activate({media})->objects().size(), 2u);
}

INSTANTIATE_TEST_SUITE_P(Sectors, FullMdc, testing::Values(512u, 4096u));

// MDC0 fills too: every compaction of MDC1 records a generation there.
TEST(FullMdc0, IsCompacted) {
  CreateOptions options = tiny_mdc();
  options.mdc0_capacity = 4 * 1024;
  options.spare_percent = 20;
  const auto media = create(options, 16 * kMiB);
  std::vector<ObjectRecord> objects;
  {
    const auto pool = activate({media});
    std::uint64_t used = 0;
    unsigned compactions = 0;
    for (unsigned i = 0; compactions < 3 && i < 100000; ++i) {
      remove_object(*pool, add_mblock(*pool).id);
      const auto mdc0 = pool->mdcs()[0];
      if (mdc0.used < used) ++compactions;
      used = mdc0.used;
    }
    EXPECT_EQ(compactions, 3u);
    add_mblock(*pool);
    objects = pool->objects();
  }
  const auto pool = activate({media});
  EXPECT_EQ(pool->objects(), objects);
  EXPECT_EQ(pool->config().label, "raw");
  EXPECT_EQ(pool->class_info(MediaClass::capacity).spare_percent, 20u);
}

TEST(Mdcs, ReadOfOneThatDoesNotExist) {
  const auto pool = activate({create(tiny_mdc())});
  EXPECT_EQ(error_of([&] { pool->read_mdc(2, [](ConstByteSpan) {}); }), ENOENT);
}

TEST(Mdcs, UserMdc) {
  const auto media = create(tiny_mdc());
  std::array<ObjectRecord, 2> logs;
  {
    const auto pool = activate({media});
    for (ObjectRecord& log : logs)
      log = pool->allocate(ObjectType::mlog, 8192, {});
    EXPECT_EQ(error_of([&] { pool->open_mdc(logs[0].id, logs[1].id); }), ENOENT);
    pool->commit(logs);
    const auto mdc = pool->open_mdc(logs[0].id, logs[1].id);
    mdc->sync(mdc->append(as_bytes("one", 3)));
    mdc->compact([](const Mdc::Append& append) { append(as_bytes("two", 3)); });
  }
  const auto pool = activate({media});
  const auto mdc = pool->open_mdc(logs[0].id, logs[1].id);
  MlogReader reader = mdc->reader();
  std::vector<std::byte> record;
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(std::memcmp(record.data(), "two", 3), 0);
  EXPECT_FALSE(reader.next(record));
  EXPECT_EQ(error_of([&] { pool->open_mdc(logs[0].id, add_mblock(*pool).id); }), ENOENT);
}

TEST(MdcChoice, InProportionToTheRoom) {
  std::vector<std::uint64_t> room = {1000000, 500000, 0, 250000};
  MdcChoice choice(room.size(), [&](std::size_t index) { return room[index]; });
  std::vector<unsigned> chosen(room.size());
  for (unsigned i = 0; i < 2800; ++i)
    ++chosen[choice.choose().value()];
  EXPECT_NEAR(chosen[0], 1600, 160);
  EXPECT_NEAR(chosen[1], 800, 160);
  EXPECT_EQ(chosen[2], 0u);
  EXPECT_NEAR(chosen[3], 400, 160);
  room = {0, 0, 0, 64};
  for (unsigned i = 0; i < 100; ++i)
    EXPECT_EQ(choice.choose(), 3u);
  room = {0, 0, 0, 63};
  EXPECT_EQ(choice.choose(), std::nullopt);
  room = {63, 64, 0, 0};
  EXPECT_EQ(choice.choose(), 1u);
}

}  // namespace
}  // namespace mpool::test

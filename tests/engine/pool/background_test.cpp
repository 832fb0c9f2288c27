// Background work of a pool: compacting MDCs, adding MDCs, watching its space; and commits that
// share a flush.
#include "engine/pool/background.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <set>
#include <thread>

#include "tests/engine/pool/tiny_pool.h"

namespace mpool::test {
namespace {

using std::chrono::milliseconds;

TEST(Background, CompactsAnMdcThatIsFullOfGarbage) {
  const auto media = create(tiny_options(1));
  const auto pool = activate({media}, by_hand());
  const auto kept = add_mblocks(*pool, 20);
  fill_with_garbage(*pool, 60);
  const auto before = pool->mdcs()[1];
  pool->maintain();
  EXPECT_EQ(pool->mdcs()[1].used, before.used) << "not full enough";
  fill_with_garbage(*pool, 70);
  pool->maintain();
  const auto after = pool->mdcs()[1];
  EXPECT_LT(fill(after), 20u);
  EXPECT_EQ(after.records, after.live_records);
  EXPECT_NE(after.mdc.active, before.mdc.active);
  EXPECT_EQ(pool->mdcs().size(), 2u);
  EXPECT_EQ(pool->objects().size(), kept.size() + 2);
  const auto objects = pool->objects();
  EXPECT_EQ(activate({media}, by_hand())->objects(), objects);
}

TEST(Background, LeavesAnMdcThatIsFullOfObjects) {
  const auto pool = activate({create(tiny_options(1))}, by_hand());
  std::vector<ObjectRecord> objects;
  while (fill(pool->mdcs()[1]) < 75)
    objects.push_back(add_mblock(*pool));
  const auto before = pool->mdcs()[1];
  pool->maintain();
  EXPECT_EQ(pool->mdcs()[1].mdc.generations, before.mdc.generations);
  // Each deletion makes two records garbage.
  for (std::size_t i = 0; i < objects.size() / 8; ++i)
    remove_object(*pool, objects[i].id);
  pool->maintain();
  EXPECT_NE(pool->mdcs()[1].mdc.generations, before.mdc.generations);
}

TEST(Background, AddsMdcsWhenAllAreFillingUp) {
  const auto media = create(tiny_options(2), 32 * kMiB);
  const auto pool = activate({media}, by_hand());
  while (fill(pool->mdcs()[1]) <= 40)
    add_mblocks(*pool, 10);
  pool->maintain();
  EXPECT_EQ(pool->mdcs().size(), 3u);
  while (fill(pool->mdcs()[1]) <= 60 || fill(pool->mdcs()[2]) <= 60)
    add_mblocks(*pool, 10);
  pool->maintain();
  ASSERT_EQ(pool->mdcs().size(), 19u);
  pool->maintain();
  EXPECT_EQ(pool->mdcs().size(), 19u) << "there is room again";

  std::set<unsigned> used;
  std::set<ObjectId> ids;
  for (const ObjectRecord& object : add_mblocks(*pool, 1000)) {
    used.insert(object.id.slot());
    EXPECT_TRUE(ids.insert(object.id).second);
  }
  EXPECT_EQ(used.size(), 18u);
  EXPECT_EQ(pool->mdcs()[0].last_uniquifier, 18u);
  const auto objects = pool->objects();
  const auto again = activate({media}, by_hand());
  EXPECT_EQ(again->objects(), objects);
  EXPECT_EQ(again->mdcs().size(), 19u);
  for (const ObjectRecord& object : add_mblocks(*again, 1000))
    EXPECT_TRUE(ids.insert(object.id).second);
}

TEST(Background, AddsNoMoreThan255Mdcs) {
  CreateOptions options = tiny_options(250);
  options.mdc_capacity = 4096;
  const auto media = create(options, 64 * kMiB);
  ActivateOptions activation = by_hand();
  activation.tunables.maintenance.grow_full = 0;
  const auto pool = activate({media}, activation);
  add_mblocks(*pool, 250);
  pool->maintain();
  EXPECT_EQ(pool->mdcs().size(), 256u);
  pool->maintain();
  EXPECT_EQ(pool->mdcs().size(), 256u);
  EXPECT_EQ(activate({media})->mdcs().size(), 256u);
}

// Room for three halves of an MDC: one MDC is added, and the next one is removed completely.
TEST(Background, AddsAsManyMdcsAsHaveRoom) {
  constexpr std::uint32_t kHalfZones = 16;
  CreateOptions options = tiny_options(1);
  options.mdc_capacity = kHalfZones * 4096;
  const auto media = create(options, 4 * kMiB);
  ActivateOptions activation = by_hand();
  activation.tunables.maintenance.grow_full = 0;
  const auto pool = activate({media}, activation);
  constexpr Placement kAnywhere{.policy = SpacePolicy::usable_then_spare, .near = std::nullopt};
  const auto take_all = [&](std::uint64_t size) {
    std::vector<ObjectRecord> objects;
    EXPECT_EQ(error_of([&] {
                for (;;)
                  objects.push_back(pool->allocate(ObjectType::mlog, size, kAnywhere));
              }),
              ENOSPC);
    return objects;
  };
  const auto free = [&] {
    const SpaceUsage space = pool->class_info(MediaClass::capacity).space;
    return space.free_usable + space.free_spare;
  };
  const auto large = take_all(kHalfZones * 4096);
  take_all(4096);
  ASSERT_EQ(free(), 0u);
  for (const std::size_t i : {0, 3, 6})
    pool->abort(large.at(i));
  ASSERT_TRUE(pool->wait_for_discards(std::chrono::seconds(60)));
  for (int i = 0; i < 2; ++i) {
    pool->maintain();
    EXPECT_EQ(pool->mdcs().size(), 3u);
    ASSERT_TRUE(pool->wait_for_discards(std::chrono::seconds(60)));
    EXPECT_EQ(free(), kHalfZones);
  }
  EXPECT_EQ(activate({media}, by_hand())->mdcs().size(), 3u);
}

// --- with concurrent threads ---

TEST(Background, WorksBesideOthers) {
  CreateOptions options = tiny_options(1);
  options.mdc_capacity = 64 * 1024;
  const auto media = create(options, 64 * kMiB);
  ActivateOptions activation = by_hand();
  activation.tunables.maintenance.grow_full = 30;
  activation.tunables.maintenance.grow_garbage = 101;  // regardless of the amount of garbage
  activation.tunables.maintenance.grow_by = 3;
  const auto pool = activate({media}, activation);
  constexpr unsigned kThreads = 4;
  std::array<std::vector<ObjectRecord>, kThreads> kept;
  {
    std::atomic<unsigned> working = kThreads;
    std::jthread maintenance([&] {
      while (working > 0)
        pool->maintain();
    });
    std::vector<std::jthread> threads;
    for (unsigned thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (unsigned i = 0; i < 120; ++i) {
          auto objects = add_mblocks(*pool, 5);
          kept[thread].push_back(objects.back());
          objects.pop_back();
          for (const ObjectRecord& object : objects) {
            if (pool->find(object.id) != object) ADD_FAILURE() << object.id.to_string();
          }
          pool->remove(ids_of(objects));
          pool->object_counts();
        }
        --working;
      });
    }
  }
  pool->maintain();
  EXPECT_GT(pool->mdcs().size(), 2u);
  std::set<ObjectId> expected = {root_log_id(0), root_log_id(1)};
  for (const auto& of_thread : kept) {
    for (const ObjectRecord& object : of_thread)
      EXPECT_TRUE(expected.insert(object.id).second);
  }
  const auto objects = pool->objects();
  EXPECT_EQ(objects.size(), expected.size());
  for (const ObjectRecord& object : objects)
    EXPECT_TRUE(expected.contains(object.id));
  EXPECT_EQ(activate({media})->objects(), objects);
}

// --- interrupted ---

// A pool with objects that could be lost, compactions to do and MDCs to add.
std::shared_ptr<Media> worth_maintaining(std::vector<ObjectRecord>& objects) {
  const auto media = create(tiny_options(1), 8 * kMiB);
  const auto pool = activate({media}, by_hand());
  while (fill(pool->mdcs()[1]) < 50)
    add_mblocks(*pool, 10);
  fill_with_garbage(*pool, 75);
  objects = pool->objects();
  return media;
}

ActivateOptions eager() {
  ActivateOptions activation = by_hand();
  activation.tunables.maintenance.grow_full = 30;
  activation.tunables.maintenance.grow_by = 2;
  return activation;
}

TEST(Background, CrashAfterEveryWrite) {
  std::vector<ObjectRecord> objects;
  const auto media = worth_maintaining(objects);
  std::vector<std::shared_ptr<Media>> states;
  {
    auto device = std::make_unique<MemoryDevice>("d", media);
    device->after_write([&] { states.push_back(std::make_shared<Media>(*media)); });
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::move(device));
    const auto pool = Pool::activate(std::move(devices), eager());
    const auto generations = pool->mdcs()[1].mdc.generations;
    pool->maintain();
    EXPECT_NE(pool->mdcs()[1].mdc.generations, generations);
    EXPECT_EQ(pool->mdcs().size(), 4u);
  }
  ASSERT_GE(states.size(), 12u);
  std::set<std::size_t> counts;
  for (std::size_t i = 0; i < states.size(); ++i) {
    SCOPED_TRACE(i);
    const auto pool = activate({states[i]}, eager());
    EXPECT_EQ(pool->objects(), objects);
    counts.insert(pool->mdcs().size());
    pool->maintain();
    EXPECT_GE(pool->mdcs().size(), 3u) << "added, or begun before";
    add_mblocks(*pool, 20);
    const auto after = pool->objects();
    EXPECT_EQ(activate({states[i]})->objects(), after);
  }
  EXPECT_EQ(counts, (std::set<std::size_t>{2, 3, 4}));
}

TEST(Background, FailureOfEveryWrite) {
  std::vector<ObjectRecord> objects;
  const auto media = worth_maintaining(objects);
  bool failed = true;
  for (unsigned fail_at = 0; failed && fail_at < 1000; ++fail_at) {
    SCOPED_TRACE(fail_at);
    const auto copy = std::make_shared<Media>(*media);
    auto device = std::make_unique<MemoryDevice>("d", copy);
    unsigned writes = 0;
    device->before_write([&](std::uint64_t, ConstByteSpan) {
      if (writes++ == fail_at) throw Error(EIO, "d", "made to fail");
    });
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::move(device));
    {
      const auto pool = Pool::activate(std::move(devices), eager());
      pool->maintain();
      EXPECT_EQ(pool->objects(), objects);
      failed = !pool->class_info(MediaClass::capacity).online;
      const unsigned before = writes;
      pool->maintain();
      EXPECT_TRUE(!failed || writes == before) << "nothing is tried on a device that is offline";
    }
    const auto pool = activate({copy}, eager());
    EXPECT_EQ(pool->objects(), objects);
    pool->maintain();
    add_mblocks(*pool, 20);
  }
  EXPECT_FALSE(failed);
}

// --- the log ---

TEST(UsageWatch, TellsWhenSpaceRunsOut) {
  UsageWatch watch;
  EXPECT_FALSE(watch.should_log(100));
  EXPECT_FALSE(watch.should_log(50));
  EXPECT_TRUE(watch.should_log(49));
  EXPECT_FALSE(watch.should_log(49));
  EXPECT_FALSE(watch.should_log(45));
  EXPECT_FALSE(watch.should_log(53));
  EXPECT_TRUE(watch.should_log(44));
  EXPECT_FALSE(watch.should_log(40));
  EXPECT_TRUE(watch.should_log(20));
  EXPECT_TRUE(watch.should_log(25));
  EXPECT_FALSE(watch.should_log(90));
  EXPECT_TRUE(watch.should_log(48));
}

// --- commits share flushes ---

class FlushDevice : public MemoryDevice {
 public:
  using MemoryDevice::MemoryDevice;
  bool slow = false;

 protected:
  void flush_impl() override {
    if (slow) std::this_thread::sleep_for(milliseconds(1));
  }
};

struct FlushCount {
  explicit FlushCount(const std::shared_ptr<Media>& media) {
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::make_unique<FlushDevice>("d", media));
    device = static_cast<FlushDevice*>(devices.front().get());
    pool = Pool::activate(std::move(devices), by_hand());
  }
  std::uint64_t flushes() const { return device->counters().flushes; }

  FlushDevice* device;
  std::unique_ptr<Pool> pool;
};

TEST(GroupCommit, ManyMdcsShareAFlush) {
  const FlushCount on(create(tiny_options(8)));
  for (int round = 0; round < 5; ++round) {
    std::vector<ObjectRecord> objects;
    std::set<unsigned> mdcs;
    for (int i = 0; i < 30; ++i) {
      objects.push_back(on.pool->allocate(ObjectType::mblock, 0, {}));
      mdcs.insert(objects.back().id.slot());
    }
    ASSERT_GE(mdcs.size(), 4u);
    std::uint64_t before = on.flushes();
    on.pool->commit(objects);
    EXPECT_EQ(on.flushes(), before + 1);
    before = on.flushes();
    on.pool->remove(ids_of(objects));
    EXPECT_EQ(on.flushes(), before + 1);
  }
}

class GroupCommitOver : public testing::TestWithParam<unsigned> {};

TEST_P(GroupCommitOver, ThreadsShareFlushes) {
  const FlushCount on(create(tiny_options(GetParam()), 64 * kMiB));
  constexpr unsigned kThreads = 8;
  constexpr unsigned kCommits = 25;
  on.device->slow = true;
  const std::uint64_t before = on.flushes();
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        for (unsigned j = 0; j < kCommits; ++j)
          add_mblock(*on.pool);
      });
    }
  }
  EXPECT_LE(on.flushes() - before, kThreads * kCommits / 2);
  EXPECT_EQ(on.pool->object_count(), kThreads * kCommits + 2);
}

INSTANTIATE_TEST_SUITE_P(Mdcs, GroupCommitOver, testing::Values(1u, 8u));

}  // namespace
}  // namespace mpool::test

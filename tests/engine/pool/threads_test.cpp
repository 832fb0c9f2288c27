#include <atomic>
#include <cerrno>
#include <random>
#include <set>
#include <thread>

#include "tests/engine/pool/pool_support.h"

namespace mpool::test {
namespace {

// Several threads use the pool at the same time; MDCs are compacted meanwhile. `kept` receives the
// objects that the thread leaves.
void use_pool(Pool& pool, unsigned seed, std::vector<ObjectRecord>& kept) {
  std::mt19937 random(seed);
  for (unsigned i = 0; i < 250; ++i) {
    std::vector<ObjectRecord> objects;
    for (unsigned j = 0; j < 1 + random() % 3; ++j) {
      const auto type = random() % 4 == 0 ? ObjectType::mlog : ObjectType::mblock;
      objects.push_back(pool.allocate(type, 4096, {}));
    }
    if (random() % 5 == 0) {
      for (const ObjectRecord& object : objects)
        pool.abort(object);
      continue;
    }
    pool.commit(objects);
    for (const ObjectRecord& object : objects) {
      if (pool.find(object.id) != object) ADD_FAILURE() << object.id.to_string();
    }
    if (i % 10 == 0) {
      kept.insert(kept.end(), objects.begin(), objects.end());
      continue;
    }
    pool.pin(objects[0].id);
    pool.unpin(objects[0].id);
    std::vector<ObjectId> ids;
    for (const ObjectRecord& object : objects)
      ids.push_back(object.id);
    pool.remove(ids);
  }
}

TEST(Threads, UseThePoolTogether) {
  CreateOptions options;
  options.name = "p";
  options.zone_size = 4096;
  options.mdc_count = 3;
  options.mdc0_capacity = 16 * 1024;
  options.mdc_capacity = 16 * 1024;
  options.root_capacity = 16 * 1024;
  const auto media = create(options, 64 * kMiB);
  std::vector<ObjectRecord> objects;
  {
    const auto pool = activate({media});
    constexpr unsigned kThreads = 6;
    std::array<std::vector<ObjectRecord>, kThreads> kept;
    std::atomic<bool> done = false;
    {
      std::jthread watcher([&] {
        while (!done) {
          for (const auto& mdc : pool->mdcs())
            EXPECT_LE(mdc.used, mdc.capacity);
          pool->objects();
          pool->class_info(MediaClass::capacity);
        }
      });
      std::vector<std::jthread> threads;
      for (unsigned i = 0; i < kThreads; ++i) {
        threads.emplace_back([&, i] { use_pool(*pool, i, kept[i]); });
      }
      threads.clear();
      done = true;
    }
    std::set<ObjectId> ids = {root_log_id(0), root_log_id(1)};
    std::uint64_t zones = 0;
    for (const auto& of_thread : kept) {
      for (const ObjectRecord& object : of_thread) {
        EXPECT_TRUE(ids.insert(object.id).second);
        zones += object.layout.zone_count;
      }
    }
    objects = pool->objects();
    EXPECT_EQ(objects.size(), ids.size());
    for (const ObjectRecord& object : objects)
      EXPECT_TRUE(ids.contains(object.id));
    EXPECT_TRUE(pool->wait_for_discards(std::chrono::seconds(60)));
    // Superblocks 4, MDC0 2 * 4, MDCs 3 * 2 * 4, root 2 * 4.
    EXPECT_EQ(pool->class_info(MediaClass::capacity).space.used, zones + 4 + 8 + 24 + 8);
  }
  EXPECT_EQ(activate({media})->objects(), objects);
}

}  // namespace
}  // namespace mpool::test

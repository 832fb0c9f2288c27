// A crash or failure at every write of a workload that also compacts MDCs.
#include <algorithm>
#include <cerrno>
#include <set>

#include "tests/engine/pool/pool_support.h"

namespace mpool::test {
namespace {

CreateOptions crash_options() {
  CreateOptions options;
  options.name = "p";
  options.zone_size = 4096;
  options.mdc_count = 2;
  options.mdc0_capacity = 8 * 1024;
  options.mdc_capacity = 8 * 1024;
  options.root_capacity = 8 * 1024;
  return options;
}

// What may be found: ids that must exist, and ids whose change was under way.
struct Promise {
  std::set<ObjectId> durable;
  std::set<ObjectId> open;
};

void expect_kept(const Pool& pool, const Promise& promise) {
  std::set<ObjectId> found;
  for (const ObjectRecord& object : pool.objects())
    found.insert(object.id);
  for (const ObjectId id : promise.durable) {
    EXPECT_TRUE(found.contains(id)) << "lost " << id.to_string();
  }
  for (const ObjectId id : found) {
    EXPECT_TRUE(promise.durable.contains(id) || promise.open.contains(id))
        << "resurrected " << id.to_string();
  }
}

// Adds and removes objects; `promise` is kept up to date.
void work(Pool& pool, Promise& promise, unsigned steps) {
  for (unsigned i = 0; i < steps; ++i) {
    std::vector<ObjectRecord> added;
    for (unsigned j = 0; j < 3; ++j)
      added.push_back(pool.allocate(ObjectType::mblock, 0, {}));
    for (const ObjectRecord& object : added)
      promise.open.insert(object.id);
    pool.commit(added);
    for (const ObjectRecord& object : added) {
      promise.open.erase(object.id);
      promise.durable.insert(object.id);
    }
    // Some stay for good.
    std::vector<ObjectId> doomed = {added[0].id, added[2].id};
    if (i % 8 != 0) doomed.push_back(added[1].id);
    for (const ObjectId id : doomed) {
      promise.durable.erase(id);
      promise.open.insert(id);
    }
    pool.remove(doomed);
    for (const ObjectId id : doomed)
      promise.open.erase(id);
  }
}

Promise promise_of(const Pool& pool) {
  Promise promise;
  for (const ObjectRecord& object : pool.objects())
    promise.durable.insert(object.id);
  return promise;
}

TEST(Crash, AfterEveryWrite) {
  const auto media = create(crash_options());
  std::vector<std::pair<std::shared_ptr<Media>, Promise>> states;
  {
    Promise promise = promise_of(*activate({media}));
    auto device = std::make_unique<MemoryDevice>("d", media);
    device->after_write([&] { states.emplace_back(std::make_shared<Media>(*media), promise); });
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::move(device));
    const auto pool = Pool::activate(std::move(devices));
    work(*pool, promise, 300);
    EXPECT_GT(pool->mdcs()[1].mdc.generations[0], 2u) << "no compaction in the workload";
    // States after this (none) would come from the end of the activation.
    pool->wait_for_discards(std::chrono::seconds(10));
  }
  ASSERT_GT(states.size(), 300u);
  for (std::size_t i = 0; i < states.size(); ++i) {
    SCOPED_TRACE(i);
    const auto pool = activate({states[i].first});
    expect_kept(*pool, states[i].second);
    add_mblock(*pool);
  }
}

TEST(Fault, AtEveryWrite) {
  unsigned completed = 0;
  for (unsigned fail_at = 0; completed == 0 && fail_at < 2000; fail_at += 3) {
    SCOPED_TRACE(fail_at);
    const auto media = create(crash_options());
    Promise promise = promise_of(*activate({media}));
    auto device = std::make_unique<MemoryDevice>("d", media);
    unsigned writes = 0;
    device->before_write([&](std::uint64_t, ConstByteSpan) {
      if (writes++ == fail_at) throw Error(EIO, "d", "made to fail");
    });
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::move(device));
    {
      const auto pool = Pool::activate(std::move(devices));
      const int code = error_of([&] { work(*pool, promise, 200); });
      if (code == 0) {
        ++completed;
      } else {
        EXPECT_EQ(code, EIO);
        EXPECT_FALSE(pool->class_facts(MediaClass::capacity).online);
        expect_kept(*pool, promise);
        EXPECT_EQ(error_of([&] { work(*pool, promise, 1); }), EIO);
        for (const ObjectId id : promise.open) {
          ObjectRecord object;
          object.id = id;
          pool->abort(object);  // must not free what may be committed on the media
        }
      }
    }
    expect_kept(*activate({media}), promise);
  }
  EXPECT_EQ(completed, 1u);
}

}  // namespace
}  // namespace mpool::test

// Many threads make all calls of the C library, and use stores on it, on one pool and on two.
#include <array>
#include <atomic>
#include <map>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/base/aligned_buffer.h"
#include "engine/io/simulated_device.h"
#include "tests/apps/kv_store.h"
#include "tests/support/library_pools.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kZone = 64u << 10;
constexpr unsigned kThreads = 32;

// A call that succeeds.
#define OK(call) EXPECT_EQ(mpool_errno(call), 0) << #call

class LibraryThreads : public testing::TestWithParam<unsigned> {
 protected:
  LibraryThreads() {
    for (unsigned i = 0; i < GetParam(); ++i) {
      const std::string name = name_of(i);
      const auto media = std::make_shared<SimulatedMedia>(512 * kZone);
      SimulatedDevice device(name, media);
      CreateOptions options;
      options.name = name;
      options.zone_size = kZone;
      options.mdc_count = 2;
      options.mdc0_capacity = options.mdc_capacity = options.root_capacity = 4 * kZone;
      Pool::create(device, nullptr, options);
      LibraryPools::instance().supply(name, [name, media] {
        std::vector<std::unique_ptr<Device>> devices;
        devices.push_back(std::make_unique<SimulatedDevice>(name, media));
        return LibraryPools::in_process(Pool::activate(std::move(devices), {}));
      });
    }
  }
  static std::string name_of(unsigned number) { return fmt::format("pool-{}", number); }
  static mpool_handle* open_pool(unsigned number) {
    mpool_handle* handle = nullptr;
    OK(mpool_open(name_of(number).c_str(), O_RDWR, &handle, nullptr));
    return handle;
  }
  static void run_threads(const std::function<void(unsigned)>& work) {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < kThreads; ++i)
      threads.emplace_back([&work, i] { work(i); });
  }
};

// What all threads use of a pool.
struct SharedObjects {
  mpool_handle* pool = nullptr;
  std::uint64_t log = 0;
  std::array<std::uint64_t, 2> pair{};
  std::uint64_t mblock = 0;
};

iovec whole(AlignedBuffer& buffer) {
  return {.iov_base = buffer.data(), .iov_len = buffer.size()};
}

std::uint64_t new_mblock(mpool_handle* pool, AlignedBuffer& content) {
  const iovec part = whole(content);
  std::uint64_t id = 0;
  OK(mpool_mblock_alloc(pool, MP_MED_CAPACITY, false, &id, nullptr));
  OK(mpool_mblock_write(pool, id, &part, 1));
  OK(mpool_mblock_commit(pool, id));
  return id;
}

std::uint64_t new_mlog(mpool_handle* pool) {
  mlog_capacity capacity{};
  capacity.lcp_captgt = 4 * kZone;
  std::uint64_t id = 0;
  OK(mpool_mlog_alloc(pool, MP_MED_CAPACITY, &capacity, &id, nullptr));
  OK(mpool_mlog_commit(pool, id));
  return id;
}

void use_mblocks(const SharedObjects& shared, unsigned seed) {
  mpool_handle* const pool = shared.pool;
  AlignedBuffer content(2 * kPageSize);
  content.data()[0] = static_cast<std::byte>(seed);
  std::array<std::uint64_t, 2> ids = {new_mblock(pool, content), shared.mblock};
  AlignedBuffer found(content.size());
  const iovec part = whole(found);
  OK(mpool_mblock_read(pool, ids[0], &part, 1, 0));
  EXPECT_EQ(found.data()[0], content.data()[0]);
  mpool_mcache_map* map = nullptr;
  OK(mpool_mcache_mmap(pool, 2, ids.data(), MPC_VMA_WARM, &map));
  EXPECT_EQ(*static_cast<const std::byte*>(mpool_mcache_getbase(map, 0)), content.data()[0]);
  EXPECT_EQ(mpool_errno(mpool_mblock_delete(pool, ids[0])), EBUSY);
  std::size_t resident = 0;
  std::size_t all = 0;
  OK(mpool_mcache_mincore(map, pool, &resident, &all));
  OK(mpool_mcache_munmap(map));
  mblock_props props{};
  OK(mpool_mblock_props_get(pool, ids[0], &props));
  OK(mpool_mblock_delete(pool, ids[0]));
  OK(mpool_mblock_alloc(pool, MP_MED_CAPACITY, true, ids.data(), nullptr));
  OK(mpool_mblock_abort(pool, ids[0]));
}

void use_own_logs(const SharedObjects& shared, unsigned seed) {
  const std::uint64_t id = new_mlog(shared.pool);
  mpool_mlog* log = nullptr;
  std::uint64_t generation = 0;
  OK(mpool_mlog_open(shared.pool, id, 0, &generation, &log));
  iovec part{.iov_base = &seed, .iov_len = sizeof seed};
  OK(mpool_mlog_append(log, &part, sizeof seed, 1));
  unsigned found = 0;
  std::size_t length = 0;
  OK(mpool_mlog_read(log, &found, sizeof found, &length));
  EXPECT_EQ(found, seed);
  OK(mpool_mlog_erase(log, 0));
  OK(mpool_mlog_close(log));
  OK(mpool_mlog_delete(shared.pool, id));
  std::array<std::uint64_t, 2> pair{};
  const mdc_capacity capacity{.mdt_captgt = kZone, .mdt_spare = false};
  OK(mpool_mdc_alloc(shared.pool, pair.data(), &pair[1], MP_MED_CAPACITY, &capacity, nullptr));
  OK(mpool_mdc_commit(shared.pool, pair[0], pair[1]));
  mpool_mdc* mdc = nullptr;
  OK(mpool_mdc_open(shared.pool, pair[0], pair[1], 0, &mdc));
  OK(mpool_mdc_append(mdc, &seed, sizeof seed, true));
  OK(mpool_mdc_cstart(mdc));
  OK(mpool_mdc_append(mdc, &seed, sizeof seed, false));
  OK(mpool_mdc_cend(mdc));
  OK(mpool_mdc_close(mdc));
  OK(mpool_mdc_delete(shared.pool, pair[0], pair[1]));
}

void use_shared_logs(const SharedObjects& shared, unsigned seed) {
  mpool_mlog* log = nullptr;
  mpool_mdc* mdc = nullptr;
  std::uint64_t generation = 0;
  std::array<char, 100> data{};
  std::size_t length = 0;
  OK(mpool_mlog_open(shared.pool, shared.log, 0, &generation, &log));
  iovec part{.iov_base = data.data(), .iov_len = data.size()};
  OK(mpool_mlog_append(log, &part, 40, seed % 3 == 0));
  OK(mpool_mlog_len(log, &length));
  OK(mpool_mlog_read(log, data.data(), data.size(), &length));
  EXPECT_TRUE(length == 0 || length == 40);
  OK(mpool_mlog_sync(log));
  OK(mpool_mlog_close(log));
  OK(mpool_mdc_open(shared.pool, shared.pair[0], shared.pair[1], 0, &mdc));
  OK(mpool_mdc_append(mdc, data.data(), 50, seed % 3 == 0));
  OK(mpool_mdc_read(mdc, data.data(), data.size(), &length));
  EXPECT_TRUE(length == 0 || length == 50);
  OK(mpool_mdc_usage(mdc, &length));
  OK(mpool_mdc_sync(mdc));
  OK(mpool_mdc_close(mdc));
}

TEST_P(LibraryThreads, MakeAllCalls) {
  std::vector<SharedObjects> pools(GetParam());
  for (unsigned i = 0; i < pools.size(); ++i) {
    SharedObjects& shared = pools[i];
    shared.pool = open_pool(i);
    shared.log = new_mlog(shared.pool);
    AlignedBuffer content(kPageSize);
    shared.mblock = new_mblock(shared.pool, content);
    const mdc_capacity capacity{.mdt_captgt = 4 * kZone, .mdt_spare = false};
    OK(mpool_mdc_alloc(shared.pool, shared.pair.data(), &shared.pair[1], MP_MED_CAPACITY, &capacity,
                       nullptr));
    OK(mpool_mdc_commit(shared.pool, shared.pair[0], shared.pair[1]));
  }
  run_threads([&](unsigned thread) {
    for (unsigned round = 0; round < 8; ++round) {
      const unsigned seed = thread + round * 7;
      const unsigned which = seed % GetParam();
      const SharedObjects& shared = pools[which];
      switch (seed / 2 % 4) {
        case 0:
          use_mblocks(shared, seed);
          break;
        case 1:
          use_own_logs(shared, seed);
          break;
        case 2:
          use_shared_logs(shared, seed);
          break;
        default:
          mpool_handle* const pool = open_pool(which);
          mpool_params params{};
          mpool_usage usage{};
          mpool_mclass_props props{};
          OK(mpool_params_get(pool, &params, nullptr));
          OK(mpool_usage_get(pool, &usage));
          OK(mpool_mclass_get(pool, MP_MED_CAPACITY, &props));
          OK(mpool_close(pool));
      }
    }
  });
  for (const SharedObjects& shared : pools) {
    mpool_usage usage{};
    OK(mpool_usage_get(shared.pool, &usage));
    EXPECT_EQ(usage.mpu_mblock_cnt, 1u);
    OK(mpool_close(shared.pool));
  }
}

TEST_P(LibraryThreads, UseStores) {
  apps::StoreOptions options;
  options.memtable_bytes = 8000;
  options.table_bytes = 20'000;
  options.block_bytes = 1000;
  options.wal_bytes = options.manifest_bytes = 4 * kZone;
  options.manifest_limit = 8000;
  options.max_flushed_tables = 2;
  std::vector<std::unique_ptr<apps::Store>> stores;
  for (unsigned i = 0; i < GetParam(); ++i) {
    const auto id = apps::Store::create(name_of(i), options);
    stores.push_back(std::make_unique<apps::Store>(name_of(i), id, options));
  }
  run_threads([&](unsigned thread) {
    apps::Store& store = *stores[thread % stores.size()];
    std::map<std::string, std::string> own;
    const auto key = [&](unsigned number) { return fmt::format("{:02}-{}", thread, number % 7); };
    for (unsigned i = 0; i < 24; ++i) {
      const auto sync = i % 8 == 0 ? apps::Store::Sync::now : apps::Store::Sync::later;
      const std::string value(i * 13 % 200, 'v');
      store.put(key(i), value, sync);
      own[key(i)] = value;
      if (i % 5 == 0) {
        store.remove(key(i + 3), sync);
        own.erase(key(i + 3));
      }
      if (i % 6 == 0) {
        EXPECT_LE(store.scan(key(0), 9).size(), 9u);
      }
      EXPECT_EQ(store.get(key(i)), value);
    }
    if (thread % 8 == 0) store.compact();
    for (const auto& [name, value] : own)
      EXPECT_EQ(store.get(name), value);
  });
  for (const auto& store : stores)
    EXPECT_EQ(store->stats().removed_objects, 0u);
}

INSTANTIATE_TEST_SUITE_P(Pools, LibraryThreads, testing::Values(1u, 2u));

}  // namespace
}  // namespace mpool::test

// A process that works on a store is killed: all that it knew to be durable is there.
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "tests/apps/kv_store.h"
#include "tests/apps/small_store.h"
#include "tests/apps/test_pool.h"

namespace apps {
namespace {

constexpr unsigned kKeys = 150;
constexpr unsigned kThreads = 3;  // that change keys of their own each

// What the killed process told, in shared memory. A change of a key has a number, which grows; the
// value has it, too. An odd one deletes.
struct Progress {
  struct Key {
    std::atomic<unsigned> begun;    // the last change that was begun
    std::atomic<unsigned> durable;  // and that returned durable
  };
  Key keys[kKeys];
  std::atomic<unsigned> changes;  // that returned
};

StoreOptions often_compacted() {
  StoreOptions options = small_store();
  options.max_flushed_tables = 2;
  return options;
}

std::string name_of(unsigned key) {
  return "key" + std::to_string(1000 + key);
}

std::string value_of(unsigned key, unsigned number) {
  return std::to_string(number) + ":" +
         std::string(20 + key % 7 * 40, static_cast<char>('a' + number % 26));
}

// Changes the keys of one thread for ever. Every third change is durable by itself; a sync makes
// the others durable.
void change_keys(Store& store, Progress& progress, unsigned thread, unsigned seed) {
  Random random(seed * kThreads + thread);
  for (;;) {
    const unsigned key = random.below(kKeys / kThreads) * kThreads + thread;
    Progress::Key& state = progress.keys[key];
    const unsigned number = ++state.begun;
    const auto sync = random.below(3) == 0 ? Store::Sync::now : Store::Sync::later;
    if (number % 2 == 0) {
      store.put(name_of(key), value_of(key, number), sync);
    } else {
      store.remove(name_of(key), sync);
    }
    if (sync == Store::Sync::now) state.durable = number;
    ++progress.changes;
  }
}

void work(const std::string& pool, const StoreId& id, Progress& progress, unsigned seed) {
  Store store(pool, id, often_compacted());
  std::vector<std::jthread> threads;
  for (unsigned thread = 1; thread < kThreads; ++thread)
    threads.emplace_back([&, thread] { change_keys(store, progress, thread, seed); });
  change_keys(store, progress, 0, seed);
}

// Each key has the last durable change, or a later one that was begun; that one counts as durable
// from now on.
void check_keys(const Store& store, Progress& progress) {
  for (unsigned key = 0; key < kKeys; ++key) {
    Progress::Key& state = progress.keys[key];
    const auto found = store.get(name_of(key));
    unsigned number = state.durable;
    for (; number <= state.begun; ++number) {
      const bool deleted = number % 2 != 0 || number == 0;
      if (found == (deleted ? std::nullopt : std::optional(value_of(key, number)))) break;
    }
    EXPECT_LE(number, state.begun)
        << name_of(key) << " has " << found.value_or("nothing") << ", durable is " << state.durable;
    state.durable = state.begun = number;
  }
}

TEST(KvKill, LosesNothingDurable) {
  const TestPool pool;
  const std::uint32_t others = pool.count_objects();
  const StoreId id = Store::create(pool.name(), often_compacted());
  const Shared<Progress> progress;
  Random random(test_seed());
  std::uint64_t recovered = 0;
  for (unsigned round = 0; round < rounds(4); ++round) {
    {
      const unsigned seed = random.below(1u << 20);
      Process process([&] { work(pool.name(), id, *progress, seed); });
      const unsigned target = progress->changes + 30 + random.below(400);
      while (progress->changes < target && process.running())
        std::this_thread::sleep_for(std::chrono::microseconds(200));
      process.kill();
    }
    const Store store(pool.name(), id, often_compacted());
    check_keys(store, *progress);
    recovered += store.stats().recovered_changes;
    EXPECT_EQ(pool.count_objects(), others + store.objects().size()) << "orphans, or losses";
    if (HasFailure()) break;
  }
  EXPECT_GT(recovered, 0u);
  Store::destroy(pool.name(), id, often_compacted());
}

}  // namespace
}  // namespace apps

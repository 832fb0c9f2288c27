/* Many threads make all calls on two pools. */
#include <pthread.h>
#include <sys/mman.h>

#include "harness.h"

#define THREADS 32
#define ROUNDS 25

struct shared {
  struct mpool* pools[2];
  uint64_t logs[2];
  uint64_t mdcs[2][2];
  uint64_t mblocks[2]; /* that all map and read */
};

struct worker {
  struct shared* shared;
  unsigned number;
};

static void use_mblocks(struct mpool* mp, unsigned seed) {
  struct mblock_props props;
  struct iovec iov;
  uint64_t ids[2];
  struct mpool_mcache_map* map = NULL;
  size_t resident = 0;
  size_t all = 0;
  iov.iov_base = new_pages(2 * PAGE, 0);
  iov.iov_len = 2 * PAGE;
  ids[0] = new_mblock(mp, 2 * PAGE, seed);
  ids[1] = new_mblock(mp, PAGE, seed + 1);
  OK(mpool_mblock_read(mp, ids[0], &iov, 1, 0));
  EXPECT(has_pages(iov.iov_base, iov.iov_len, seed));
  OK(mpool_mcache_mmap(mp, 2, ids, MPC_VMA_WARM, &map));
  EXPECT(has_pages(mpool_mcache_getbase(map, 0), 2 * PAGE, seed));
  EXPECT(has_pages(mpool_mcache_getbase(map, 1), PAGE, seed + 1));
  FAILS(EBUSY, mpool_mblock_delete(mp, ids[0]));
  OK(mpool_mcache_madvise(map, 0, 0, SIZE_MAX, MADV_WILLNEED));
  OK(mpool_mcache_mincore(map, mp, &resident, &all));
  OK(mpool_mcache_purge(map, mp));
  OK(mpool_mcache_munmap(map));
  OK(mpool_mblock_delete(mp, ids[0]));
  OK(mpool_mblock_props_get(mp, ids[1], &props));
  EXPECT(props.mpr_write_len == PAGE);
  OK(mpool_mblock_delete(mp, ids[1]));
  OK(mpool_mblock_alloc(mp, MP_MED_CAPACITY, true, &ids[0], NULL));
  OK(mpool_mblock_write(mp, ids[0], &iov, 1));
  OK(mpool_mblock_abort(mp, ids[0]));
  free(iov.iov_base);
}

static void use_own_log(struct mpool* mp, unsigned seed) {
  const uint64_t id = new_mlog(mp, MIB);
  struct mpool_mlog* log = NULL;
  uint64_t gen = 0;
  size_t length = 0;
  unsigned found = 0;
  OK(mpool_mlog_open(mp, id, 0, &gen, &log));
  OK(append(log, &seed, sizeof(seed), seed % 2 == 0));
  OK(mpool_mlog_rewind(log));
  OK(mpool_mlog_read(log, &found, sizeof(found), &length));
  EXPECT(length == sizeof(found) && found == seed);
  OK(mpool_mlog_erase(log, 0));
  OK(mpool_mlog_sync(log));
  OK(mpool_mlog_close(log));
  OK(mpool_mlog_delete(mp, id));
}

static void use_shared(struct shared* shared, unsigned pool, unsigned seed) {
  struct mpool* const mp = shared->pools[pool];
  struct mpool_mlog* log = NULL;
  struct mpool_mdc* mdc = NULL;
  struct mpool_mcache_map* map = NULL;
  uint64_t gen = 0;
  size_t length = 0;
  char data[200] = "";
  OK(mpool_mlog_open(mp, shared->logs[pool], 0, &gen, &log));
  OK(append(log, data, 20, 0));
  OK(append(log, data, 30, seed % 4 == 0));
  OK(mpool_mlog_len(log, &length));
  OK(mpool_mlog_read(log, data, sizeof(data), &length));
  EXPECT(length == 0 || length == 20 || length == 30);
  OK(mpool_mlog_close(log));
  OK(mpool_mdc_open(mp, shared->mdcs[pool][0], shared->mdcs[pool][1], 0, &mdc));
  OK(mpool_mdc_append(mdc, data, 50, seed % 8 == 0));
  OK(mpool_mdc_read(mdc, data, sizeof(data), &length));
  EXPECT(length == 0 || length == 50);
  OK(mpool_mdc_usage(mdc, &length));
  OK(mpool_mdc_close(mdc));
  OK(mpool_mcache_mmap(mp, 1, &shared->mblocks[pool], MPC_VMA_COLD, &map));
  EXPECT(has_pages(mpool_mcache_getbase(map, 0), 16 * PAGE, 77));
  OK(mpool_mcache_munmap(map));
}

static void use_pools(unsigned pool) {
  struct mpool_params params;
  struct mpool_usage usage;
  struct mpool_mclass_props props;
  struct mpool* const mp = open_pool(pool == 0 ? 'a' : 'b', O_RDWR);
  OK(mpool_params_get(mp, &params, NULL));
  OK(mpool_params_set(mp, &params, NULL));
  OK(mpool_usage_get(mp, &usage));
  OK(mpool_mclass_get(mp, MP_MED_CAPACITY, &props));
  close_pool(mp);
}

static void* work(void* argument) {
  const struct worker* const worker = argument;
  unsigned round;
  for (round = 0; round < ROUNDS; ++round) {
    const unsigned seed = worker->number * 100 + round;
    const unsigned pool = seed % 2;
    switch (seed / 2 % 4) {
      case 0:
        use_mblocks(worker->shared->pools[pool], seed);
        break;
      case 1:
        use_own_log(worker->shared->pools[pool], seed);
        break;
      case 2:
        use_shared(worker->shared, pool, seed);
        break;
      default:
        use_pools(pool);
    }
  }
  return NULL;
}

TEST(Threads, make_all_calls_on_two_pools) {
  static struct shared shared;
  static struct worker workers[THREADS];
  const struct mdc_capacity capacity = {1 << 20, false};
  pthread_t threads[THREADS];
  unsigned i;
  for (i = 0; i < 2; ++i) {
    const char which = i == 0 ? 'a' : 'b';
    make_pool(which, 512, 1);
    shared.pools[i] = open_pool(which, O_RDWR);
    shared.logs[i] = new_mlog(shared.pools[i], 4 * MIB);
    OK(mpool_mdc_alloc(shared.pools[i], &shared.mdcs[i][0], &shared.mdcs[i][1], MP_MED_CAPACITY,
                       &capacity, NULL));
    OK(mpool_mdc_commit(shared.pools[i], shared.mdcs[i][0], shared.mdcs[i][1]));
    shared.mblocks[i] = new_mblock(shared.pools[i], 16 * PAGE, 77);
  }
  for (i = 0; i < THREADS; ++i) {
    workers[i].shared = &shared;
    workers[i].number = i;
    REQUIRE(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
  }
  for (i = 0; i < THREADS; ++i)
    pthread_join(threads[i], NULL);
  for (i = 0; i < 2; ++i) {
    OK(mpool_mblock_delete(shared.pools[i], shared.mblocks[i]));
    OK(mpool_mlog_delete(shared.pools[i], shared.logs[i]));
    OK(mpool_mdc_delete(shared.pools[i], shared.mdcs[i][0], shared.mdcs[i][1]));
    close_pool(shared.pools[i]);
  }
}

/* Threads of the library handle no signals, and a child that calls nothing of it is no harm. */
static void* fork_children(void* unused) {
  int i;
  (void)unused;
  for (i = 0; i < 10; ++i)
    EXPECT(shell("true") == 0);
  return NULL;
}

TEST(Threads, fork_and_exec_beside_the_work) {
  struct mpool* const mp = new_pool();
  pthread_t thread;
  unsigned i;
  REQUIRE(pthread_create(&thread, NULL, fork_children, NULL) == 0);
  for (i = 0; i < 20; ++i)
    use_mblocks(mp, i);
  pthread_join(thread, NULL);
  close_pool(mp);
}

/* A pool is filled by several threads, verified, and emptied in reverse order. */
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

#include "harness.h"

#define WRITERS 5
#define MAX_BLOCKS 600

struct filler {
  struct mpool* mp;
  unsigned number;
  unsigned count;
  uint64_t ids[MAX_BLOCKS];
};

static unsigned seed_of(const struct filler* filler, unsigned i) {
  return filler->number * 1000 + i;
}

static size_t length_of(unsigned i) {
  return (i % 16 + 1) * 16 * PAGE;
}

static void* fill(void* argument) {
  struct filler* const filler = argument;
  struct iovec iov;
  iov.iov_base = new_pages(MIB, 0);
  while (filler->count < MAX_BLOCKS) {
    uint64_t id = 0;
    const mpool_err_t err = mpool_mblock_alloc(filler->mp, MP_MED_CAPACITY, true, &id, NULL);
    if (mpool_errno(err) == ENOSPC) break;
    OK(err);
    iov.iov_len = length_of(filler->count);
    fill_pages(iov.iov_base, iov.iov_len, seed_of(filler, filler->count));
    OK(mpool_mblock_write(filler->mp, id, &iov, 1));
    OK(mpool_mblock_commit(filler->mp, id));
    filler->ids[filler->count++] = id;
  }
  free(iov.iov_base);
  return NULL;
}

static void* verify(void* argument) {
  struct filler* const filler = argument;
  struct mpool_mcache_map* map = NULL;
  struct iovec iov;
  unsigned i;
  unsigned j;
  iov.iov_base = new_pages(MIB, 0);
  for (i = 0; i < filler->count; ++i) {
    iov.iov_len = length_of(i);
    OK(mpool_mblock_read(filler->mp, filler->ids[i], &iov, 1, 0));
    EXPECT(has_pages(iov.iov_base, iov.iov_len, seed_of(filler, i)));
  }
  for (i = 0; i < filler->count; i += 8) {
    const unsigned members = filler->count - i < 8 ? filler->count - i : 8;
    OK(mpool_mcache_mmap(filler->mp, members, &filler->ids[i], MPC_VMA_COLD, &map));
    OK(mpool_mcache_madvise(map, 0, 0, SIZE_MAX, 3 /* WILLNEED */));
    for (j = 0; j < members; ++j) {
      EXPECT(has_pages(mpool_mcache_getbase(map, j), length_of(i + j), seed_of(filler, i + j)));
      FAILS(EBUSY, mpool_mblock_delete(filler->mp, filler->ids[i + j]));
    }
    OK(mpool_mcache_munmap(map));
  }
  free(iov.iov_base);
  return NULL;
}

static void* empty(void* argument) {
  struct filler* const filler = argument;
  while (filler->count > 0)
    OK(mpool_mblock_delete(filler->mp, filler->ids[--filler->count]));
  return NULL;
}

static void in_threads(void* (*work)(void*), struct filler fillers[WRITERS]) {
  pthread_t threads[WRITERS];
  unsigned i;
  for (i = 0; i < WRITERS; ++i)
    REQUIRE(pthread_create(&threads[i], NULL, work, &fillers[i]) == 0);
  for (i = 0; i < WRITERS; ++i)
    pthread_join(threads[i], NULL);
}

TEST(Fill, until_there_is_no_space) {
  static struct filler fillers[WRITERS];
  struct mpool_usage before;
  struct mpool_usage full;
  struct mpool_usage after;
  struct mpool* const mp = new_pool();
  unsigned blocks = 0;
  unsigned i;
  int round;
  OK(mpool_usage_get(mp, &before));
  for (round = 0; round < 2; ++round) {
    for (i = 0; i < WRITERS; ++i) {
      fillers[i].mp = mp;
      fillers[i].number = i;
    }
    in_threads(fill, fillers);
    for (blocks = 0, i = 0; i < WRITERS; ++i)
      blocks += fillers[i].count;
    OK(mpool_usage_get(mp, &full));
    EXPECT(full.mpu_mblock_cnt == blocks && blocks > 100);
    EXPECT(full.mpu_fusable == 0 && full.mpu_fspare == 0);
    in_threads(verify, fillers);
    in_threads(empty, fillers);
    OK(mpool_usage_get(mp, &after));
    EXPECT(after.mpu_mblock_cnt == 0);
  }
  close_pool(mp);
}

/* What the samples of mpool 1.9 do, one after the other, on a pool of their own. */
ENGINE_TEST(Samples, work_with_zones_of_32_mib) {
  struct mpool_params params;
  struct mpool* mp = NULL;
  struct mpool_mcache_map* map = NULL;
  struct mpool_usage usage;
  struct mpool_mlog* log = NULL;
  struct mpool_mdc* mdc = NULL;
  const struct mdc_capacity mdc_capacity = {1 << 20, false};
  char* const data = new_pages(106592 / PAGE * PAGE + PAGE, 1);
  char* const found = new_pages(106592 / PAGE * PAGE + PAGE, 2);
  uint64_t ids[4];
  uint64_t gen = 0;
  off_t numbers[4] = {0, 1, 2, 3};
  void* pages[4];
  size_t length = 0;
  uint32_t i;
  mpool_params_init(&params);
  OK(mpool_create(pool_name('a'), image_path('a', 8192), &params, 0, NULL));
  EXPECT(params.mp_mblocksz[MP_MED_CAPACITY] == 32);
  OK(mpool_open(pool_name('a'), O_EXCL | O_RDWR, &mp, NULL));
  OK(mpool_usage_get(mp, &usage));
  /* mblock, mcache */
  for (i = 0; i < 4; ++i)
    ids[i] = new_mblock(mp, 4 * PAGE, i + 5);
  OK(mpool_mcache_mmap(mp, 4, ids, MPC_VMA_COLD, &map));
  for (i = 0; i < 4; ++i) {
    OK(mpool_mcache_getpages(map, 4, i, numbers, pages));
    EXPECT(has_pages(pages[0], 4 * PAGE, i + 5));
  }
  OK(mpool_mcache_munmap(map));
  for (i = 0; i < 4; ++i)
    OK(mpool_mblock_delete(mp, ids[i]));
  /* mlog */
  ids[0] = new_mlog(mp, 4 * MIB);
  OK(mpool_mlog_open(mp, ids[0], 0, &gen, &log));
  for (i = 0; i < 16; ++i)
    OK(append(log, data, 64 * 1024 + i, 1));
  OK(mpool_mlog_rewind(log));
  for (i = 0; i < 16; ++i) {
    OK(mpool_mlog_read(log, found, 106592, &length));
    EXPECT(length == 64 * 1024 + i && memcmp(data, found, length) == 0);
  }
  OK(mpool_mlog_close(log));
  OK(mpool_mlog_delete(mp, ids[0]));
  /* mdc */
  OK(mpool_mdc_alloc(mp, &ids[0], &ids[1], MP_MED_CAPACITY, &mdc_capacity, NULL));
  OK(mpool_mdc_commit(mp, ids[0], ids[1]));
  OK(mpool_mdc_open(mp, ids[0], ids[1], 0, &mdc));
  for (i = 0; i < 5; ++i)
    OK(mpool_mdc_append(mdc, data, 1000, true));
  OK(mpool_mdc_cstart(mdc));
  OK(mpool_mdc_append(mdc, data, 1001, true));
  OK(mpool_mdc_cend(mdc));
  OK(mpool_mdc_rewind(mdc));
  OK(mpool_mdc_read(mdc, found, 106592, &length));
  EXPECT(length == 1001);
  OK(mpool_mdc_close(mdc));
  OK(mpool_mdc_delete(mp, ids[0], ids[1]));
  close_pool(mp);
  OK(mpool_destroy(pool_name('a'), 0, NULL));
}

/* Maps of mblocks. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>

#include "harness.h"

static sigjmp_buf escape;

static void on_sigbus(int number) {
  (void)number;
  siglongjmp(escape, 1);
}

/* True when the page reads as zeros or cannot be read. */
static int has_nothing(const volatile char* page) {
  struct sigaction action;
  size_t i;
  int nothing = 1;
  memset(&action, 0, sizeof(action));
  action.sa_handler = on_sigbus;
  sigaction(SIGBUS, &action, NULL);
  sigaction(SIGSEGV, &action, NULL);
  if (sigsetjmp(escape, 1) == 0) {
    for (i = 0; i < PAGE; ++i)
      nothing = nothing && page[i] == 0;
  }
  signal(SIGBUS, SIG_DFL);
  signal(SIGSEGV, SIG_DFL);
  return nothing;
}

TEST(Map, shows_mblocks_in_order) {
  struct mpool* const mp = new_pool();
  struct mpool_mcache_map* map = NULL;
  const size_t pages[] = {1, 5, 0, 256, 3};
  uint64_t ids[6];
  void* at[3];
  const off_t numbers[3] = {4, 0, 1};
  size_t resident = 0;
  size_t all = 0;
  uint32_t i;
  for (i = 0; i < 5; ++i)
    ids[i] = new_mblock(mp, pages[i] * PAGE, i);
  ids[5] = ids[1]; /* twice in one map */
  OK(mpool_mcache_mmap(mp, 6, ids, MPC_VMA_WARM, &map));
  for (i = 0; i < 6; ++i) {
    char* const base = mpool_mcache_getbase(map, i);
    const uint32_t of = i == 5 ? 1 : i;
    REQUIRE(base != NULL && (uintptr_t)base % PAGE == 0);
    EXPECT(has_pages(base, pages[of] * PAGE, of));
    if (pages[of] < 256) EXPECT(has_nothing(base + pages[of] * PAGE));
    if (pages[of] < 200) EXPECT(has_nothing(base + 255 * PAGE));
  }
  EXPECT(mpool_mcache_getbase(map, 6) == NULL);
  OK(mpool_mcache_getpages(map, 3, 1, numbers, at));
  EXPECT(at[0] == (char*)mpool_mcache_getbase(map, 1) + 4 * PAGE);
  EXPECT(at[1] == mpool_mcache_getbase(map, 1));
  OK(mpool_mcache_mincore(map, mp, &resident, &all));
  EXPECT(all == 6 * 256 && resident <= all);
  OK(mpool_mcache_munmap(map));
  EXPECT(mprotect(at[0], PAGE, PROT_READ) != 0); /* no page is there */
  close_pool(mp);
}

TEST(Map, refuses_what_is_no_committed_mblock) {
  struct mpool* const mp = new_pool();
  struct mpool_mcache_map* map = (struct mpool_mcache_map*)mp;
  uint64_t ids[2];
  uint64_t* many;
  size_t i;
  ids[0] = new_mblock(mp, PAGE, 1);
  FAILS(EINVAL, mpool_mcache_mmap(mp, 0, ids, MPC_VMA_COLD, &map));
  EXPECT(map == NULL); /* also when it fails */
  FAILS(EINVAL, mpool_mcache_mmap(mp, 1, ids, (enum mpc_vma_advice)4, &map));
  OK(mpool_mblock_alloc(mp, MP_MED_CAPACITY, false, &ids[1], NULL));
  FAILS(ENOENT, mpool_mcache_mmap(mp, 2, ids, MPC_VMA_COLD, &map));
  OK(mpool_mblock_delete(mp, ids[0])); /* a failed map leaves nothing pinned */
  FAILS(ENOENT, mpool_mcache_mmap(mp, 1, ids, MPC_VMA_COLD, &map));
  OK(mpool_mblock_abort(mp, ids[1]));
  ids[0] = new_mblock(mp, MIB, 1);
  many = calloc(1025, sizeof(*many));
  for (i = 0; i < 1025; ++i)
    many[i] = ids[0];
  FAILS(E2BIG, mpool_mcache_mmap(mp, 1025, many, MPC_VMA_COLD, &map));
  OK(mpool_mcache_mmap(mp, 1024, many, MPC_VMA_COLD, &map));
  EXPECT(has_pages(mpool_mcache_getbase(map, 1023), MIB, 1));
  OK(mpool_mcache_munmap(map));
  free(many);
  close_pool(mp);
}

TEST(Map, pins_its_mblocks) {
  struct mpool* mp = new_pool();
  struct mpool_mcache_map* first = NULL;
  struct mpool_mcache_map* second = NULL;
  uint64_t ids[2];
  int i;
  ids[0] = new_mblock(mp, 8 * PAGE, 1);
  ids[1] = new_mblock(mp, 8 * PAGE, 2);
  OK(mpool_mcache_mmap(mp, 2, ids, MPC_VMA_HOT, &first));
  OK(mpool_mcache_mmap(mp, 1, ids, MPC_VMA_PINNED, &second));
  FAILS(EBUSY, mpool_mblock_delete(mp, ids[0]));
  OK(mpool_mcache_munmap(first));
  FAILS(EBUSY, mpool_mblock_delete(mp, ids[0]));
  OK(mpool_mblock_delete(mp, ids[1]));
  OK(mpool_mcache_munmap(second));
  OK(mpool_mblock_delete(mp, ids[0]));
  for (i = 0; i < 50; ++i) {
    ids[0] = new_mblock(mp, PAGE, (unsigned)i);
    OK(mpool_mcache_mmap(mp, 1, ids, MPC_VMA_COLD, &first));
    EXPECT(has_pages(mpool_mcache_getbase(first, 0), PAGE, (unsigned)i));
    OK(mpool_mcache_munmap(first));
    OK(mpool_mblock_delete(mp, ids[0])); /* never EBUSY after the munmap */
  }
  close_pool(mp);
}

/* The lines of /proc/self/maps that lie in a range. */
static int mappings_of(const char* begin, size_t length) {
  FILE* const file = fopen("/proc/self/maps", "r");
  char line[512];
  int count = 0;
  REQUIRE(file != NULL);
  while (fgets(line, sizeof(line), file) != NULL) {
    const uintptr_t start = strtoul(line, NULL, 16);
    if (start >= (uintptr_t)begin && start < (uintptr_t)begin + length) ++count;
  }
  fclose(file);
  return count;
}

MOUNT_TEST(Map, is_one_mapping_also_with_advice) {
  struct mpool* const mp = new_pool();
  struct mpool_mcache_map* map = NULL;
  uint64_t ids[4];
  char* base;
  unsigned i;
  for (i = 0; i < 4; ++i)
    ids[i] = new_mblock(mp, (i + 1) * PAGE, i);
  OK(mpool_mcache_mmap(mp, 4, ids, MPC_VMA_HOT, &map));
  base = mpool_mcache_getbase(map, 0);
  EXPECT(mappings_of(base, 16 * PAGE) == 1);
  OK(mpool_mcache_madvise(map, 0, 0, SIZE_MAX, MADV_NORMAL));
  OK(mpool_mcache_madvise(map, 0, 0, SIZE_MAX, MADV_WILLNEED));
  EXPECT(mappings_of(base, 16 * PAGE) == 1);
  for (i = 0; i < 4; ++i) {
    EXPECT(mpool_mcache_getbase(map, i) == base + i * 4 * PAGE);
    EXPECT(has_pages(base + i * 4 * PAGE, (i + 1) * PAGE, i));
  }
  OK(mpool_mcache_munmap(map));
  close_pool(mp);
}

TEST(Map, lives_on_after_the_close) {
  struct mpool* const mp = new_pool();
  struct mpool_mcache_map* map = NULL;
  uint64_t id = new_mblock(mp, 64 * PAGE, 1);
  OK(mpool_mcache_mmap(mp, 1, &id, MPC_VMA_COLD, &map));
  close_pool(mp);
  EXPECT(has_pages(mpool_mcache_getbase(map, 0), 64 * PAGE, 1));
  OK(mpool_mcache_munmap(map));
  stop_pool('a');
}

TEST(Map, takes_advice_and_is_purged) {
  struct mpool* const mp = new_pool();
  struct mpool_mcache_map* map = NULL;
  uint64_t ids[2];
  size_t resident = 0;
  size_t all = 0;
  const int advice[] = {MADV_WILLNEED, MADV_DONTNEED, MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL};
  size_t i;
  ids[0] = new_mblock(mp, 100 * PAGE, 1);
  ids[1] = new_mblock(mp, PAGE, 2);
  OK(mpool_mcache_mmap(mp, 2, ids, MPC_VMA_COLD, &map)); /* stride: 128 pages */
  for (i = 0; i < sizeof(advice) / sizeof(advice[0]); ++i) {
    OK(mpool_mcache_madvise(map, 0, 0, SIZE_MAX, advice[i]));
    OK(mpool_mcache_madvise(map, 1, 0, 32 * PAGE, advice[i])); /* also behind the written length */
    OK(mpool_mcache_madvise(map, 0, (off_t)(4 * PAGE), 128 * 1024, advice[i]));
  }
  FAILS(EINVAL, mpool_mcache_madvise(map, 2, 0, PAGE, MADV_NORMAL));
  FAILS(EINVAL, mpool_mcache_madvise(map, 0, -4096, PAGE, MADV_NORMAL));
  FAILS(EINVAL, mpool_mcache_madvise(map, 0, (off_t)(100 * PAGE), 29 * PAGE, MADV_NORMAL));
  FAILS(EINVAL, mpool_mcache_madvise(map, 0, 100, PAGE, MADV_NORMAL));
  FAILS(EINVAL, mpool_mcache_madvise(map, 0, 0, PAGE, 12345));
  EXPECT(has_pages(mpool_mcache_getbase(map, 0), 100 * PAGE, 1));
  OK(mpool_mcache_mincore(map, mp, &resident, &all));
  EXPECT(resident >= 100 && all == 256);
  OK(mpool_mcache_purge(map, mp));
  OK(mpool_mcache_mincore(map, mp, &resident, &all));
  EXPECT(resident < 100);
  EXPECT(has_pages(mpool_mcache_getbase(map, 0), 100 * PAGE, 1));
  EXPECT(has_pages(mpool_mcache_getbase(map, 1), PAGE, 2));
  OK(mpool_mcache_munmap(map));
  close_pool(mp);
}

/* A zone that is used again shows its new content, never that of the object before. */
TEST(Map, never_shows_other_content) {
  struct mpool* const mp = new_pool();
  struct mpool_mcache_map* map = NULL;
  const unsigned rounds = is_mounted() ? 25 : 80; /* each page is a request there */
  unsigned round;
  for (round = 1; round < rounds; ++round) {
    const size_t length = (round * 7 % 255 + 1) * PAGE;
    uint64_t id = new_mblock(mp, length, round);
    char* base;
    OK(mpool_mcache_mmap(mp, 1, &id, MPC_VMA_COLD, &map));
    base = mpool_mcache_getbase(map, 0);
    REQUIRE(has_pages(base, length, round));
    OK(mpool_mcache_munmap(map));
    OK(mpool_mblock_delete(mp, id));
  }
  close_pool(mp);
}

TEST(Map, thousands_live_at_a_time) {
  struct mpool* mp;
  static struct mpool_mcache_map* maps[400];
  uint64_t ids[8];
  unsigned i;
  mp = new_pool();
  for (i = 0; i < 8; ++i)
    ids[i] = new_mblock(mp, (i + 1) * PAGE, i);
  for (i = 0; i < 400; ++i) {
    OK(mpool_mcache_mmap(mp, i % 8 + 1, ids, MPC_VMA_COLD, &maps[i]));
    EXPECT(has_pages(mpool_mcache_getbase(maps[i], i % 8), (i % 8 + 1) * PAGE, i % 8));
  }
  for (i = 0; i < 400; ++i)
    OK(mpool_mcache_munmap(maps[i]));
  for (i = 0; i < 8; ++i)
    OK(mpool_mblock_delete(mp, ids[i]));
  close_pool(mp);
}

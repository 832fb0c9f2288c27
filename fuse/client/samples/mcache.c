/* A map: committed mblocks as memory. */
#include <sys/mman.h>

#include "sample.h"

int main(int argc, char** argv) {
  struct mpool* mp = make_pool(argc, argv);
  struct mpool_mcache_map* map;
  char* pages = make_pages(1 << 20, 0);
  struct iovec part = {pages, 1 << 20};
  uint64_t ids[4];
  size_t resident, all;

  for (int i = 0; i < 4; i++) {
    memset(pages, 'a' + i, 1 << 20);
    check(mpool_mblock_alloc(mp, MP_MED_CAPACITY, false, &ids[i], NULL), "alloc");
    check(mpool_mblock_write(mp, ids[i], &part, 1), "write");
    check(mpool_mblock_commit(mp, ids[i]), "commit");
  }
  check(mpool_mcache_mmap(mp, 4, ids, MPC_VMA_WARM, &map), "mmap");
  check(mpool_mcache_madvise(map, 0, 0, SIZE_MAX, MADV_WILLNEED), "madvise");
  for (unsigned i = 0; i < 4; i++)
    putchar(*(char*)mpool_mcache_getbase(map, i));
  check(mpool_mcache_mincore(map, mp, &resident, &all), "mincore");
  printf(": %zu of %zu pages are in memory\n", resident, all);
  check(mpool_mcache_munmap(map), "munmap");
  for (int i = 0; i < 4; i++)
    check(mpool_mblock_delete(mp, ids[i]), "delete");
  free(pages);
  return end_pool(mp, argv);
}

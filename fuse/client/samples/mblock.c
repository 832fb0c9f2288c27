/* An mblock: written, committed, read, deleted. */
#include "sample.h"

int main(int argc, char** argv) {
  struct mpool* mp = make_pool(argc, argv);
  struct mblock_props props;
  char* pages = make_pages(1 << 20, 'a');
  struct iovec part = {pages, 1 << 20};
  uint64_t id;

  check(mpool_mblock_alloc(mp, MP_MED_CAPACITY, false, &id, &props), "alloc");
  check(mpool_mblock_write(mp, id, &part, 1), "write");
  check(mpool_mblock_commit(mp, id), "commit"); /* durable from here on */
  memset(pages, 0, 4096);
  part.iov_len = 4096;
  check(mpool_mblock_read(mp, id, &part, 1, 4096), "read");
  printf("mblock 0x%lx of %u bytes holds %c\n", (unsigned long)id, props.mpr_alloc_cap, pages[0]);
  check(mpool_mblock_delete(mp, id), "delete");
  free(pages);
  return end_pool(mp, argv);
}

/* An MDC: when a log is full, what still counts is written to the other one. */
#include "sample.h"

int main(int argc, char** argv) {
  struct mpool* mp = make_pool(argc, argv);
  struct mdc_capacity capacity = {.mdt_captgt = 1 << 20};
  struct mpool_mdc* mdc;
  uint64_t first, second;
  unsigned counter = 0, compactions = 0;
  char record[4096] = {0};
  size_t length;

  check(mpool_mdc_alloc(mp, &first, &second, MP_MED_CAPACITY, &capacity, NULL), "alloc");
  check(mpool_mdc_commit(mp, first, second), "commit");
  check(mpool_mdc_open(mp, first, second, 0, &mdc), "open");
  while (compactions < 2) { /* only the last value of the counter counts */
    mpool_err_t err;
    counter++;
    memcpy(record, &counter, sizeof(counter));
    err = mpool_mdc_append(mdc, record, sizeof(record), false);
    if (mpool_errno(err) == EFBIG) {
      check(mpool_mdc_cstart(mdc), "cstart");
      check(mpool_mdc_append(mdc, record, sizeof(record), false), "append");
      check(mpool_mdc_cend(mdc), "cend");
      compactions++;
    } else {
      check(err, "append");
    }
  }
  check(mpool_mdc_rewind(mdc), "rewind");
  check(mpool_mdc_read(mdc, record, sizeof(record), &length), "read");
  memcpy(&counter, record, sizeof(counter));
  printf("the counter was %u at the last compaction\n", counter);
  check(mpool_mdc_close(mdc), "close");
  check(mpool_mdc_delete(mp, first, second), "delete");
  return end_pool(mp, argv);
}

/* An mlog: records are appended, made durable together, and read in order. */
#include "sample.h"

int main(int argc, char** argv) {
  struct mpool* mp = make_pool(argc, argv);
  struct mlog_capacity capacity = {.lcp_captgt = 1 << 20};
  struct mpool_mlog* log;
  uint64_t id, generation;
  char record[64];
  size_t length;

  check(mpool_mlog_alloc(mp, MP_MED_CAPACITY, &capacity, &id, NULL), "alloc");
  check(mpool_mlog_commit(mp, id), "commit");
  check(mpool_mlog_open(mp, id, 0, &generation, &log), "open");
  for (int i = 0; i < 3; i++) {
    char number[] = {(char)('0' + i), '\0'};
    struct iovec parts[] = {{"record ", 7}, {number, sizeof(number)}};
    check(mpool_mlog_append(log, parts, 7 + sizeof(number), 0), "append");
  }
  check(mpool_mlog_sync(log), "sync");
  check(mpool_mlog_rewind(log), "rewind");
  for (;;) {
    check(mpool_mlog_read(log, record, sizeof(record), &length), "read");
    if (length == 0) break;
    puts(record);
  }
  check(mpool_mlog_close(log), "close");
  check(mpool_mlog_delete(mp, id), "delete");
  return end_pool(mp, argv);
}

/* What every call does without its pointers, on a handle for reading, and with errors. */
#include "harness.h"

int cpp_calls_the_library(void);

TEST(Errors, have_the_legal_form) {
  struct mpool* mp = NULL;
  char text[328];
  char small[5];
  const mpool_err_t err = mpool_open("no-such-pool", O_RDWR, &mp, NULL);
  FAILS(ENOENT, err);
  EXPECT(mp == NULL);
  EXPECT(err != -ENOENT);
  EXPECT(((uint64_t)err >> 31 & 1) == 0);
  EXPECT((int32_t)err == ENOENT); /* programs store the low half */
  EXPECT(mpool_errno(err) == ENOENT);
  EXPECT(mpool_errno(0) == 0);
  EXPECT(mpool_errno(EFBIG) == EFBIG);
  EXPECT(mpool_strerror(err, text, sizeof(text)) == text);
  EXPECT(strcmp(text, strerror(ENOENT)) == 0);
  EXPECT(mpool_strinfo(err, text, sizeof(text)) == text);
  EXPECT(strstr(text, strerror(ENOENT)) != NULL);
  EXPECT(strcmp(mpool_strinfo(0, text, sizeof(text)), "Success") == 0);
  memset(small, 'x', sizeof(small));
  EXPECT(mpool_strinfo(err, small, 4) == small);
  EXPECT(small[3] == 0 && small[4] == 'x');
  memset(small, 'x', sizeof(small));
  EXPECT(mpool_strerror(err, small, 4) == small);
  EXPECT(strcmp(small, "No ") == 0 && small[4] == 'x');
  small[0] = 'x';
  (void)mpool_strinfo(err, small, 0);
  (void)mpool_strerror(err, small, 0);
  EXPECT(small[0] == 'x');
  EXPECT(cpp_calls_the_library() == 1);
}

TEST(Errors, reports_say_what_they_concern) {
  struct mpool_devrpt report;
  struct mpool* mp = NULL;
  memset(&report, 0x5a, sizeof(report));
  mpool_devrpt_init(&report);
  EXPECT(report.mdr_rcode == MPOOL_RC_NONE && report.mdr_off == -1 && report.mdr_msg[0] == 0);
  mpool_devrpt(&report, MPOOL_RC_PARM, 3, "%s %d", "device", 7);
  EXPECT(report.mdr_rcode == MPOOL_RC_PARM && report.mdr_off == 3);
  EXPECT(strcmp(report.mdr_msg, "device 7") == 0);
  mpool_devrpt(&report, MPOOL_RC_STAT, -1, "%0400d", 1);
  EXPECT(strlen(report.mdr_msg) == MPOOL_DEVRPT_SZ - 1);
  mpool_devrpt(&report, MPOOL_RC_STAT, -1, NULL);
  EXPECT(report.mdr_msg[0] == 0);
  mpool_devrpt(NULL, MPOOL_RC_STAT, -1, "x");
  mpool_devrpt_init(NULL);
  EXPECT(mpool_devrpt_strerror(MPOOL_RC_MAGIC) != NULL);
  EXPECT(mpool_devrpt_strerror((enum mpool_rc)12345) != NULL);
  FAILS(ENOENT, mpool_open("no-such-pool", O_RDWR, &mp, &report));
  EXPECT(report.mdr_rcode == MPOOL_RC_OPEN);
  FAILS(ENOENT, mpool_destroy("no-such-pool", 0, &report));
  EXPECT(report.mdr_rcode == MPCTL_RC_MP_NODEV);
}

TEST(Null, of_pools) {
  struct mpool* const mp = new_pool();
  struct mpool* other = NULL;
  struct mpool_params params;
  struct mpool_params* vector = NULL;
  struct mpool_usage usage;
  struct mpool_devprops device;
  int count = 0;
  mpool_params_init(NULL);
  FAILS(EINVAL, mpool_create(NULL, image_path('b', 64), NULL, 0, NULL));
  FAILS(EINVAL, mpool_create(pool_name('b'), NULL, NULL, 0, NULL));
  FAILS(EINVAL, mpool_destroy(NULL, 0, NULL));
  FAILS(EINVAL, mpool_activate(NULL, NULL, 0, NULL));
  FAILS(EINVAL, mpool_deactivate(NULL, 0, NULL));
  FAILS(EINVAL, mpool_mclass_add(NULL, image_path('b', 64), MP_MED_STAGING, NULL, 0, NULL));
  FAILS(EINVAL, mpool_mclass_add(pool_name('a'), NULL, MP_MED_STAGING, NULL, 0, NULL));
  FAILS(EINVAL, mpool_rename(NULL, pool_name('b'), 0, NULL));
  FAILS(EINVAL, mpool_rename(pool_name('b'), NULL, 0, NULL));
  FAILS(EINVAL, mpool_scan(NULL, &vector, NULL));
  FAILS(EINVAL, mpool_scan(&count, NULL, NULL));
  FAILS(EINVAL, mpool_list(NULL, &vector, NULL));
  FAILS(EINVAL, mpool_list(&count, NULL, NULL));
  FAILS(EINVAL, mpool_open(NULL, O_RDWR, &other, NULL));
  FAILS(EINVAL, mpool_open(pool_name('a'), O_RDWR, NULL, NULL));
  OK(mpool_close(NULL));
  FAILS(EINVAL, mpool_mclass_get(NULL, MP_MED_CAPACITY, NULL));
  OK(mpool_mclass_get(mp, MP_MED_CAPACITY, NULL));
  FAILS(ENOENT, mpool_mclass_get(mp, MP_MED_STAGING, NULL));
  FAILS(EINVAL, mpool_mclass_get(mp, (enum mp_media_classp)2, NULL));
  FAILS(EINVAL, mpool_usage_get(NULL, &usage));
  FAILS(EINVAL, mpool_usage_get(mp, NULL));
  FAILS(EINVAL, mpool_dev_props_get(NULL, "x", &device));
  FAILS(EINVAL, mpool_dev_props_get(mp, NULL, &device));
  FAILS(EINVAL, mpool_dev_props_get(mp, "x", NULL));
  FAILS(EINVAL, mpool_params_get(NULL, &params, NULL));
  FAILS(EINVAL, mpool_params_get(mp, NULL, NULL));
  FAILS(EINVAL, mpool_params_set(NULL, &params, NULL));
  FAILS(EINVAL, mpool_params_set(mp, NULL, NULL));
  close_pool(mp);
}

TEST(Null, of_mblocks) {
  struct mpool* const mp = new_pool();
  const uint64_t id = new_mblock(mp, PAGE, 1);
  void* const memory = new_pages(PAGE, 1);
  struct iovec iov = {NULL, 4096};
  struct mblock_props props;
  uint64_t other = 77;
  FAILS(EINVAL, mpool_mblock_alloc(NULL, MP_MED_CAPACITY, false, &other, &props));
  FAILS(EINVAL, mpool_mblock_alloc(mp, MP_MED_CAPACITY, false, NULL, &props));
  FAILS(EINVAL, mpool_mblock_alloc(mp, (enum mp_media_classp)2, false, &other, &props));
  FAILS(ENOENT, mpool_mblock_alloc(mp, MP_MED_STAGING, false, &other, &props));
  EXPECT(other == 77); /* results of failed calls are unchanged */
  FAILS(EINVAL, mpool_mblock_find(NULL, id, NULL));
  OK(mpool_mblock_find(mp, id, NULL));
  FAILS(EINVAL, mpool_mblock_props_get(NULL, id, &props));
  FAILS(EINVAL, mpool_mblock_props_get(mp, id, NULL));
  FAILS(EINVAL, mpool_mblock_commit(NULL, id));
  FAILS(EINVAL, mpool_mblock_abort(NULL, id));
  FAILS(EINVAL, mpool_mblock_delete(NULL, id));
  FAILS(EINVAL, mpool_mblock_read(mp, id, NULL, 1, 0));
  FAILS(EINVAL, mpool_mblock_read(mp, id, &iov, 1, 0)); /* a null base */
  iov.iov_base = memory;
  FAILS(EINVAL, mpool_mblock_read(NULL, id, &iov, 1, 0));
  FAILS(EINVAL, mpool_mblock_write(NULL, id, &iov, 1));
  OK(mpool_mblock_alloc(mp, MP_MED_CAPACITY, false, &other, NULL));
  FAILS(EINVAL, mpool_mblock_write(mp, other, NULL, 1));
  iov.iov_base = NULL;
  FAILS(EINVAL, mpool_mblock_write(mp, other, &iov, 1));
  OK(mpool_mblock_abort(mp, other));
  free(memory);
  close_pool(mp);
}

TEST(Null, of_mlogs) {
  struct mpool* const mp = new_pool();
  const uint64_t id = new_mlog(mp, MIB);
  struct mlog_capacity capacity;
  struct mlog_props props;
  struct mpool_mlog* log = NULL;
  uint64_t gen = 0;
  size_t length = 0;
  char data[10];
  memset(&capacity, 0, sizeof(capacity));
  FAILS(EINVAL, mpool_mlog_alloc(NULL, MP_MED_CAPACITY, &capacity, &gen, &props));
  FAILS(EINVAL, mpool_mlog_alloc(mp, MP_MED_CAPACITY, NULL, &gen, &props));
  FAILS(EINVAL, mpool_mlog_alloc(mp, MP_MED_CAPACITY, &capacity, NULL, &props));
  FAILS(EINVAL, mpool_mlog_commit(NULL, id));
  FAILS(EINVAL, mpool_mlog_abort(NULL, id));
  FAILS(EINVAL, mpool_mlog_delete(NULL, id));
  FAILS(EINVAL, mpool_mlog_open(NULL, id, 0, &gen, &log));
  FAILS(EINVAL, mpool_mlog_open(mp, id, 0, NULL, &log));
  FAILS(EINVAL, mpool_mlog_open(mp, id, 0, &gen, NULL));
  OK(mpool_mlog_open(mp, id, 0, &gen, &log));
  FAILS(EINVAL, mpool_mlog_close(NULL));
  FAILS(EINVAL, append(NULL, data, 1, 0));
  FAILS(EINVAL, mpool_mlog_append(log, NULL, 1, 0));
  FAILS(EINVAL, mpool_mlog_rewind(NULL));
  FAILS(EINVAL, mpool_mlog_read(NULL, data, sizeof(data), &length));
  FAILS(EINVAL, mpool_mlog_read(log, NULL, sizeof(data), &length));
  FAILS(EINVAL, mpool_mlog_read(log, data, sizeof(data), NULL));
  FAILS(EINVAL, mpool_mlog_seek_read(NULL, 1, data, sizeof(data), &length));
  FAILS(EINVAL, mpool_mlog_seek_read(log, 1, data, sizeof(data), NULL));
  FAILS(EINVAL, mpool_mlog_sync(NULL));
  FAILS(EINVAL, mpool_mlog_len(NULL, &length));
  FAILS(EINVAL, mpool_mlog_len(log, NULL));
  FAILS(EINVAL, mpool_mlog_erase(NULL, 0));
  FAILS(EINVAL, mpool_mlog_props_get(NULL, &props));
  FAILS(EINVAL, mpool_mlog_props_get(log, NULL));
  OK(mpool_mlog_close(log));
  close_pool(mp);
}

TEST(Null, of_mdcs) {
  struct mpool* const mp = new_pool();
  const struct mdc_capacity capacity = {1 << 20, false};
  struct mdc_props props;
  struct mpool_mdc* mdc = NULL;
  uint64_t a = 0;
  uint64_t b = 0;
  size_t length = 0;
  char data[10] = "data";
  FAILS(EINVAL, mpool_mdc_alloc(NULL, &a, &b, MP_MED_CAPACITY, &capacity, &props));
  FAILS(EINVAL, mpool_mdc_alloc(mp, NULL, &b, MP_MED_CAPACITY, &capacity, &props));
  FAILS(EINVAL, mpool_mdc_alloc(mp, &a, NULL, MP_MED_CAPACITY, &capacity, &props));
  FAILS(EINVAL, mpool_mdc_alloc(mp, &a, &b, MP_MED_CAPACITY, NULL, &props));
  FAILS(EINVAL, mpool_mdc_alloc(mp, &a, &b, (enum mp_media_classp)2, &capacity, &props));
  EXPECT(a == 0 && b == 0);
  OK(mpool_mdc_alloc(mp, &a, &b, MP_MED_CAPACITY, &capacity, NULL));
  FAILS(EINVAL, mpool_mdc_commit(NULL, a, b));
  FAILS(EINVAL, mpool_mdc_abort(NULL, a, b));
  FAILS(EINVAL, mpool_mdc_delete(NULL, a, b));
  OK(mpool_mdc_commit(mp, a, b));
  FAILS(EINVAL, mpool_mdc_get_root(NULL, &a, &b));
  FAILS(EINVAL, mpool_mdc_get_root(mp, NULL, &b));
  FAILS(EINVAL, mpool_mdc_get_root(mp, &a, NULL));
  FAILS(EINVAL, mpool_mdc_open(NULL, a, b, 0, &mdc));
  FAILS(EINVAL, mpool_mdc_open(mp, a, b, 0, NULL));
  FAILS(EINVAL, mpool_mdc_open(mp, a, a, 0, &mdc));
  OK(mpool_mdc_open(mp, a, b, 0, &mdc));
  FAILS(EINVAL, mpool_mdc_close(NULL));
  FAILS(EINVAL, mpool_mdc_sync(NULL));
  FAILS(EINVAL, mpool_mdc_rewind(NULL));
  FAILS(EINVAL, mpool_mdc_read(NULL, data, sizeof(data), &length));
  FAILS(EINVAL, mpool_mdc_read(mdc, NULL, sizeof(data), &length));
  FAILS(EINVAL, mpool_mdc_read(mdc, data, sizeof(data), NULL));
  FAILS(EINVAL, mpool_mdc_append(NULL, data, 4, true));
  FAILS(EINVAL, mpool_mdc_append(mdc, NULL, 4, true));
  FAILS(EINVAL, mpool_mdc_append(mdc, data, -1, true));
  FAILS(EINVAL, mpool_mdc_cstart(NULL));
  FAILS(EINVAL, mpool_mdc_cend(NULL));
  FAILS(EINVAL, mpool_mdc_usage(NULL, &length));
  FAILS(EINVAL, mpool_mdc_usage(mdc, NULL));
  OK(mpool_mdc_close(mdc));
  close_pool(mp);
}

TEST(Null, of_maps) {
  struct mpool* const mp = new_pool();
  uint64_t id = new_mblock(mp, PAGE, 1);
  struct mpool_mcache_map* map = NULL;
  const off_t page = 0;
  void* address = NULL;
  size_t pages = 0;
  FAILS(EINVAL, mpool_mcache_mmap(NULL, 1, &id, MPC_VMA_COLD, &map));
  FAILS(EINVAL, mpool_mcache_mmap(mp, 1, NULL, MPC_VMA_COLD, &map));
  FAILS(EINVAL, mpool_mcache_mmap(mp, 1, &id, MPC_VMA_COLD, NULL));
  OK(mpool_mcache_mmap(mp, 1, &id, MPC_VMA_COLD, &map));
  OK(mpool_mcache_munmap(NULL));
  FAILS(EINVAL, mpool_mcache_madvise(NULL, 0, 0, PAGE, 0));
  FAILS(EINVAL, mpool_mcache_purge(NULL, mp));
  FAILS(EINVAL, mpool_mcache_purge(map, NULL));
  FAILS(EINVAL, mpool_mcache_mincore(NULL, mp, &pages, &pages));
  FAILS(EINVAL, mpool_mcache_mincore(map, NULL, &pages, &pages));
  EXPECT(mpool_mcache_getbase(NULL, 0) == NULL);
  EXPECT(mpool_mcache_getbase(map, 1) == NULL);
  FAILS(EINVAL, mpool_mcache_getpages(NULL, 1, 0, &page, &address));
  FAILS(EINVAL, mpool_mcache_getpages(map, 1, 0, NULL, &address));
  FAILS(EINVAL, mpool_mcache_getpages(map, 1, 0, &page, NULL));
  FAILS(EINVAL, mpool_mcache_getpages(map, 1, 1, &page, &address));
  OK(mpool_mcache_munmap(map));
  close_pool(mp);
}

TEST(ReadOnly, handles_change_nothing) {
  struct mpool* mp = new_pool();
  uint64_t id = new_mblock(mp, 2 * PAGE, 1);
  const uint64_t log_id = new_mlog(mp, MIB);
  const struct mdc_capacity mdc_capacity = {1 << 20, false};
  struct iovec iov = {new_pages(PAGE, 2), 4096};
  struct mlog_capacity capacity;
  struct mpool_mcache_map* map = NULL;
  struct mpool_mlog* log = NULL;
  struct mpool_params params;
  struct mblock_props props;
  uint64_t a = 0;
  uint64_t b = 0;
  uint64_t gen = 0;
  size_t length = 0;
  char data[10];
  memset(&capacity, 0, sizeof(capacity));
  OK(mpool_mlog_open(mp, log_id, 0, &gen, &log));
  OK(append(log, "record", 6, 1));
  OK(mpool_mlog_close(log));
  close_pool(mp);

  mp = open_pool('a', O_RDONLY | O_EXCL);
  FAILS(EPERM, mpool_mblock_alloc(mp, MP_MED_CAPACITY, false, &a, NULL));
  FAILS(EPERM, mpool_mblock_write(mp, id, &iov, 1));
  FAILS(EPERM, mpool_mblock_commit(mp, id));
  FAILS(EPERM, mpool_mblock_abort(mp, id));
  FAILS(EPERM, mpool_mblock_delete(mp, id));
  OK(mpool_mblock_find(mp, id, &props));
  OK(mpool_mblock_props_get(mp, id, &props));
  EXPECT(props.mpr_write_len == 2 * PAGE);
  OK(mpool_mblock_read(mp, id, &iov, 1, 0));
  FAILS(EPERM, mpool_mlog_alloc(mp, MP_MED_CAPACITY, &capacity, &a, NULL));
  FAILS(EPERM, mpool_mlog_commit(mp, log_id));
  FAILS(EPERM, mpool_mlog_abort(mp, log_id));
  FAILS(EPERM, mpool_mlog_delete(mp, log_id));
  OK(mpool_mlog_open(mp, log_id, 0, &gen, &log));
  FAILS(EPERM, append(log, "x", 1, 0));
  FAILS(EPERM, mpool_mlog_sync(log));
  FAILS(EPERM, mpool_mlog_erase(log, 0));
  OK(mpool_mlog_read(log, data, sizeof(data), &length));
  EXPECT(length == 6 && memcmp(data, "record", 6) == 0);
  OK(mpool_mlog_len(log, &length));
  OK(mpool_mlog_close(log));
  FAILS(EPERM, mpool_mdc_alloc(mp, &a, &b, MP_MED_CAPACITY, &mdc_capacity, NULL));
  FAILS(EPERM, mpool_mdc_commit(mp, log_id, log_id + 4096));
  FAILS(EPERM, mpool_mdc_abort(mp, log_id, log_id + 4096));
  FAILS(EPERM, mpool_mdc_delete(mp, log_id, log_id + 4096));
  OK(mpool_params_get(mp, &params, NULL));
  OK(mpool_mdc_get_root(mp, &a, &b));
  EXPECT(a == 0x201 && b == 0x1201);
  OK(mpool_mcache_mmap(mp, 1, &id, MPC_VMA_COLD, &map));
  EXPECT(has_pages(mpool_mcache_getbase(map, 0), 2 * PAGE, 1));
  OK(mpool_mcache_munmap(map));
  free(iov.iov_base);
  close_pool(mp);
}

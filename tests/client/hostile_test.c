/* Arguments that no program should give, and calls at the wrong time: each is refused, and harms
 * nothing. */
#include <limits.h>
#include <sys/mman.h>

#include "harness.h"

TEST(Hostile, sizes_and_ids) {
  struct mpool* const mp = new_pool();
  const uint64_t ids[] = {0, 1, UINT64_MAX, 0x201, 0x1201, 0x101, UINT64_MAX << 12};
  struct mlog_capacity capacity;
  struct mdc_capacity pair = {UINT64_MAX, false};
  struct mblock_props props;
  struct mpool_mlog* log = NULL;
  struct mpool_mdc* mdc = NULL;
  struct mpool_usage before;
  struct mpool_usage after;
  uint64_t a = 5;
  uint64_t b = 5;
  uint64_t gen = 5;
  size_t i;
  memset(&capacity, 0x5a, sizeof(capacity));
  OK(mpool_usage_get(mp, &before));
  {
    const uint64_t sizes[] = {UINT64_MAX, UINT64_MAX - 1, UINT64_MAX - MIB + 2, (uint64_t)1 << 63,
                              (uint64_t)1 << 52};
    for (i = 0; i < sizeof(sizes) / sizeof(*sizes); ++i) {
      capacity.lcp_captgt = sizes[i];
      FAILS(ENOSPC, mpool_mlog_alloc(mp, MP_MED_CAPACITY, &capacity, &a, NULL));
      pair.mdt_captgt = sizes[i];
      FAILS(ENOSPC, mpool_mdc_alloc(mp, &a, &b, MP_MED_CAPACITY, &pair, NULL));
    }
  }
  for (i = 0; i < sizeof(ids) / sizeof(*ids); ++i) {
    const uint64_t id = ids[i];
    EXPECT(mpool_mblock_props_get(mp, id, &props) != 0);
    EXPECT(mpool_mblock_commit(mp, id) != 0);
    EXPECT(mpool_mblock_abort(mp, id) != 0);
    EXPECT(mpool_mblock_delete(mp, id) != 0);
    EXPECT(mpool_mlog_commit(mp, id) != 0);
    EXPECT(mpool_mlog_abort(mp, id) != 0);
    EXPECT(mpool_mlog_delete(mp, id) != 0);
    if (id != 0x201 && id != 0x1201) {
      EXPECT(mpool_mlog_open(mp, id, 0xff, &gen, &log) != 0);
    }
    EXPECT(mpool_mdc_commit(mp, id, id) != 0);
    EXPECT(mpool_mdc_abort(mp, id, id) != 0);
    EXPECT(mpool_mdc_delete(mp, id, id) != 0);
    EXPECT(mpool_mdc_open(mp, id, id, 0xff, &mdc) != 0);
  }
  OK(mpool_usage_get(mp, &after));
  EXPECT(memcmp(&before, &after, sizeof(before)) == 0);
  EXPECT(a == 5 && b == 5 && gen == 5 && log == NULL && mdc == NULL);
  close_pool(mp);
}

TEST(Hostile, memory_of_transfers) {
  struct mpool* const mp = new_pool();
  const uint64_t id = new_mblock(mp, 4 * PAGE, 1);
  char* const pages = new_pages(2 * PAGE, 2);
  char* const none = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* const constant = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct iovec iov[2] = {{pages, PAGE}, {pages + PAGE, SIZE_MAX - PAGE + 1}};
  uint64_t other = 0;
  struct mpool_usage usage;
  OK(mpool_mblock_alloc(mp, MP_MED_CAPACITY, false, &other, NULL));
  FAILS(EINVAL, mpool_mblock_write(mp, other, iov, 2));
  FAILS(EINVAL, mpool_mblock_write(mp, other, iov, -1));
  FAILS(EINVAL, mpool_mblock_write(mp, other, iov, INT_MIN));
  FAILS(EINVAL, mpool_mblock_write(mp, other, iov, INT_MAX));
  FAILS(EINVAL, mpool_mblock_read(mp, id, iov, 2, 0));
  FAILS(EINVAL, mpool_mblock_read(mp, id, iov, 1, -4096));
  FAILS(EINVAL, mpool_mblock_read(mp, id, iov, 1, LONG_MAX & ~4095L));
  FAILS(EINVAL, mpool_mblock_read(mp, id, iov, 1, LONG_MIN));
  iov[0].iov_base = none;
  FAILS(EFAULT, mpool_mblock_read(mp, id, iov, 1, 0));
  iov[0].iov_base = constant;
  FAILS(EFAULT, mpool_mblock_read(mp, id, iov, 1, 0));
  iov[0].iov_base = none;
  FAILS(EFAULT, mpool_mblock_write(mp, other, iov, 1));
  (void)mpool_mblock_abort(mp, other);
  /* The devices work on. */
  OK(mpool_usage_get(mp, &usage));
  other = new_mblock(mp, PAGE, 3);
  OK(mpool_mblock_delete(mp, other));
  iov[0].iov_base = pages;
  OK(mpool_mblock_read(mp, id, iov, 1, 0));
  EXPECT(has_pages(pages, PAGE, 1));
  free(pages);
  close_pool(mp);
}

TEST(Hostile, settings) {
  struct mpool* const mp = new_pool();
  struct mpool_params before;
  struct mpool_params after;
  struct mpool_params wanted;
  OK(mpool_params_get(mp, &before, NULL));
  mpool_params_init(&wanted);
  strcpy(wanted.mp_label, "other");
  wanted.mp_spare_cap = 101;
  FAILS(EINVAL, mpool_params_set(mp, &wanted, NULL));
  wanted.mp_spare_cap = 254;
  FAILS(EINVAL, mpool_params_set(mp, &wanted, NULL));
  wanted.mp_spare_cap = MPOOL_SPARES_INVALID;
  memset(wanted.mp_label, 'x', sizeof(wanted.mp_label));
  FAILS(EINVAL, mpool_params_set(mp, &wanted, NULL));
  strcpy(wanted.mp_label, "a/b");
  FAILS(EINVAL, mpool_params_set(mp, &wanted, NULL));
  OK(mpool_params_get(mp, &after, NULL));
  EXPECT(memcmp(&before, &after, sizeof(before)) == 0);
  mpool_params_init(&wanted);
  wanted.mp_mode = 07777;
  wanted.mp_ra_pages_max = 1000;
  OK(mpool_params_set(mp, &wanted, NULL));
  OK(mpool_params_get(mp, &after, NULL));
  EXPECT(after.mp_mode == 0777 && after.mp_ra_pages_max == MPOOL_RA_PAGES_MAX);
  close_pool(mp);
}

TEST(Hostile, records) {
  struct mpool* const mp = new_pool();
  const uint64_t id = new_mlog(mp, MIB);
  struct mpool_mlog* log = NULL;
  uint64_t gen = 0;
  size_t length = 77;
  char data[16] = "record";
  struct iovec iov = {data, 6};
  OK(mpool_mlog_open(mp, id, 0, &gen, &log));
  FAILS(EINVAL, mpool_mlog_append(log, &iov, SIZE_MAX, 0));
  FAILS(EINVAL, mpool_mlog_append(log, &iov, (size_t)UINT_MAX + 1, 0));
  iov.iov_base = NULL;
  iov.iov_len = UINT_MAX;
  FAILS(EFBIG, mpool_mlog_append(log, &iov, UINT_MAX, 0));
  iov.iov_base = data;
  OK(mpool_mlog_append(log, &iov, 6, 1));
  FAILS(EOVERFLOW, mpool_mlog_read(log, data, 0, &length));
  EXPECT(length == 6);
  FAILS(EOVERFLOW, mpool_mlog_seek_read(log, 5, data, sizeof(data), &length));
  EXPECT(length == 6);
  FAILS(ERANGE, mpool_mlog_seek_read(log, SIZE_MAX, data, sizeof(data), &length));
  EXPECT(length == 6);
  FAILS(ERANGE, mpool_mlog_seek_read(log, SIZE_MAX, data, sizeof(data), &length));
  EXPECT(length == 0);
  OK(mpool_mlog_erase(log, UINT64_MAX));
  FAILS(EOVERFLOW, mpool_mlog_erase(log, 0));
  OK(mpool_mlog_close(log));
  close_pool(mp);
}

TEST(Hostile, maps) {
  struct mpool* const mp = new_pool();
  const uint64_t id = new_mblock(mp, 4 * PAGE, 1);
  uint64_t ids[] = {id, id};
  uint64_t logs[] = {0x201, 0};
  struct mpool_mcache_map* map = NULL;
  size_t resident = 7;
  size_t all = 7;
  FAILS(EINVAL, mpool_mcache_mmap(mp, 0, ids, MPC_VMA_COLD, &map));
  FAILS(E2BIG, mpool_mcache_mmap(mp, SIZE_MAX, ids, MPC_VMA_COLD, &map));
  FAILS(E2BIG, mpool_mcache_mmap(mp, SIZE_MAX / 8 + 1, ids, MPC_VMA_COLD, &map));
  FAILS(EINVAL, mpool_mcache_mmap(mp, 1, ids, (enum mpc_vma_advice)4, &map));
  FAILS(EINVAL, mpool_mcache_mmap(mp, 1, logs, MPC_VMA_COLD, &map));
  FAILS(ENOENT, mpool_mcache_mmap(mp, 1, &(uint64_t){id + (1 << 12)}, MPC_VMA_COLD, &map));
  OK(mpool_mcache_mmap(mp, 2, ids, MPC_VMA_PINNED, &map));
  FAILS(EINVAL, mpool_mcache_madvise(map, 2, 0, 1, MADV_WILLNEED));
  FAILS(EINVAL, mpool_mcache_madvise(map, UINT_MAX, 0, 1, MADV_WILLNEED));
  FAILS(EINVAL, mpool_mcache_madvise(map, 0, -1, 1, MADV_WILLNEED));
  FAILS(EINVAL, mpool_mcache_madvise(map, 0, LONG_MAX, 1, MADV_WILLNEED));
  FAILS(EINVAL, mpool_mcache_madvise(map, 0, 4096, SIZE_MAX - 1, MADV_WILLNEED));
  FAILS(EINVAL, mpool_mcache_madvise(map, 0, 0, 1, -1));
  FAILS(EINVAL, mpool_mcache_madvise(map, 0, 0, 1, 12345));
  FAILS(EINVAL, mpool_mcache_madvise(map, 0, 1, 1, MADV_RANDOM));
  OK(mpool_mcache_madvise(map, 1, 0, SIZE_MAX, MADV_WILLNEED));
  OK(mpool_mcache_mincore(map, mp, &resident, &all));
  EXPECT(all == 8 && resident <= all);
  /* What is mapped stays as it is. */
  EXPECT(mprotect(mpool_mcache_getbase(map, 0), PAGE, PROT_READ | PROT_WRITE) != 0);
  FAILS(EBUSY, mpool_mblock_delete(mp, id));
  EXPECT(has_pages(mpool_mcache_getbase(map, 1), 4 * PAGE, 1));
  OK(mpool_mcache_munmap(map));
  OK(mpool_mblock_delete(mp, id));
  close_pool(mp);
}

static mpool_err_t create_with(struct mpool_params params) {
  return mpool_create(pool_name('b'), image_path('b', 256), &params, 0, NULL);
}

TEST(Hostile, creation) {
  const struct {
    const char* path;
    int code;
    uint32_t report;
  } devices[] = {{"", ENOENT, MPOOL_RC_OPEN},
                 {"/no/such/device", ENOENT, MPOOL_RC_OPEN},
                 {"/", ENOTBLK, MPCTL_RC_INVALDEV},
                 {"/dev/null", ENOTBLK, MPCTL_RC_INVALDEV}};
  struct mpool_params none;
  struct mpool_params wanted;
  struct mpool_devrpt report;
  char text[5000];
  size_t i;
  mpool_params_init(&none);
  for (i = 0; i < sizeof(devices) / sizeof(*devices); ++i) {
    FAILS(devices[i].code, mpool_create(pool_name('b'), devices[i].path, NULL, 0, &report));
    EXPECT(report.mdr_rcode == devices[i].report);
    EXPECT(strcmp(report.mdr_msg, devices[i].path) == 0);
  }
  memset(text, '/', sizeof(text));
  memset(text + 1, 'x', sizeof(text) - 2);
  text[sizeof(text) - 1] = 0;
  FAILS(ENAMETOOLONG, mpool_create(pool_name('b'), text, NULL, 0, &report));
  EXPECT(strlen(report.mdr_msg) == MPOOL_DEVRPT_SZ - 1);
  FAILS(ENAMETOOLONG, mpool_create(text + 1, image_path('b', 256), NULL, 0, &report));
  EXPECT(report.mdr_rcode == MPCTL_RC_ENTNAM_INV);
  FAILS(ENAMETOOLONG, mpool_destroy(text + 1, 0, NULL));
  FAILS(ENOENT, mpool_activate(text, NULL, 0, NULL));
  FAILS(ENOENT, mpool_activate("/dev/zero", NULL, 0, NULL));
  FAILS(EINVAL, mpool_activate("", NULL, 0, NULL));
  FAILS(ENAMETOOLONG, mpool_rename("x", text, 0, NULL));
  FAILS(EINVAL, mpool_mclass_add("x", "/dev/null", (enum mp_media_classp) - 1, NULL, 0, NULL));
#define CREATE_FAILS(code, change)    \
  do {                                \
    wanted = none;                    \
    change;                           \
    FAILS(code, create_with(wanted)); \
  } while (0)
  CREATE_FAILS(EINVAL, wanted.mp_mdcnum = 256);
  CREATE_FAILS(EINVAL, wanted.mp_mdcnum = 65535);
  CREATE_FAILS(EINVAL, wanted.mp_spare_cap = 101);
  CREATE_FAILS(EINVAL, wanted.mp_spare_cap = 254);
  CREATE_FAILS(EINVAL, wanted.mp_mblocksz[MP_MED_CAPACITY] = 3);
  CREATE_FAILS(EINVAL, wanted.mp_mblocksz[MP_MED_CAPACITY] = 128);
  CREATE_FAILS(EINVAL, wanted.mp_mblocksz[MP_MED_CAPACITY] = 1u << 31);
  CREATE_FAILS(EINVAL, memset(wanted.mp_label, 'x', sizeof(wanted.mp_label)));
  CREATE_FAILS(ENOSPC, wanted.mp_mdc0cap = 65535);
  CREATE_FAILS(ENOSPC, wanted.mp_mdcncap = 65535);
  CREATE_FAILS(ENOSPC, wanted.mp_mblocksz[MP_MED_CAPACITY] = 64);
  /* Nothing of these is left: the image has no pool. */
  FAILS(ENOENT, mpool_destroy(image_path('b', 256), 0, NULL));
  wanted = none;
  wanted.mp_mode = 07777;
  wanted.mp_spare_cap = 100;
  wanted.mp_ra_pages_max = 100000;
  wanted.mp_mblocksz[MP_MED_CAPACITY] = 1;
  OK(create_with(wanted));
  FAILS(EEXIST, create_with(none));
  OK(mpool_destroy(pool_name('b'), 0, NULL));
}

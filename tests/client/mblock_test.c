/* Mblocks. */
#include "harness.h"

TEST(Mblock, lives_from_alloc_to_delete) {
  struct mpool* const mp = new_pool();
  struct mblock_props props;
  struct mblock_props again;
  struct iovec iov[3];
  uint64_t id = 0;
  char* const data = new_pages(16 * PAGE, 1);
  char* const found = new_pages(16 * PAGE, 2);
  OK(mpool_mblock_alloc(mp, MP_MED_CAPACITY, false, &id, &props));
  EXPECT(id != 0 && props.mpr_objid == id && props.mpr_alloc_cap == MIB);
  EXPECT(props.mpr_write_len == 0 && !props.mpr_iscommitted);
  EXPECT(props.mpr_mclassp == MP_MED_CAPACITY);
  EXPECT(props.mpr_optimal_wrsz % PAGE == 0 && props.mpr_optimal_wrsz >= PAGE);
  EXPECT(props.mpr_optimal_wrsz <= 128 * 1024);
  EXPECT(props.mpr_rsvd2 == 0 && props.mpr_rsvd1[0] == 0);
  FAILS(EINVAL, mpool_mlog_delete(mp, id)); /* the id of another type */
  iov[0].iov_base = data;
  iov[0].iov_len = PAGE;
  iov[1].iov_base = data + PAGE;
  iov[1].iov_len = 15 * PAGE;
  OK(mpool_mblock_write(mp, id, iov, 2));
  EXPECT(iov[0].iov_len == PAGE && iov[1].iov_base == data + PAGE);
  memset(data, 0, PAGE); /* the memory is free on return */
  OK(mpool_mblock_props_get(mp, id, &again));
  EXPECT(again.mpr_write_len == 16 * PAGE && !again.mpr_iscommitted);
  iov[2].iov_base = found;
  iov[2].iov_len = PAGE;
  FAILS(ENOENT, mpool_mblock_read(mp, id, &iov[2], 1, 0));
  FAILS(ENOENT, mpool_mblock_delete(mp, id));
  OK(mpool_mblock_commit(mp, id));
  FAILS(ENOENT, mpool_mblock_commit(mp, id));
  FAILS(ENOENT, mpool_mblock_abort(mp, id));
  FAILS(ENOENT, mpool_mblock_write(mp, id, iov, 1));
  OK(mpool_mblock_find(mp, id, &again));
  EXPECT(again.mpr_iscommitted == 1 && again.mpr_write_len == 16 * PAGE);
  iov[2].iov_len = 16 * PAGE;
  OK(mpool_mblock_read(mp, id, &iov[2], 1, 0));
  EXPECT(has_pages(found, 16 * PAGE, 1));
  iov[0].iov_base = found + PAGE;
  iov[0].iov_len = 3 * PAGE;
  iov[1].iov_base = found;
  iov[1].iov_len = PAGE;
  OK(mpool_mblock_read(mp, id, iov, 2, (off_t)(5 * PAGE)));
  fill_pages(data, 16 * PAGE, 1);
  EXPECT(memcmp(found + PAGE, data + 5 * PAGE, 3 * PAGE) == 0);
  EXPECT(memcmp(found, data + 8 * PAGE, PAGE) == 0);
  OK(mpool_mblock_delete(mp, id));
  FAILS(ENOENT, mpool_mblock_delete(mp, id));
  FAILS(ENOENT, mpool_mblock_find(mp, id, NULL));
  FAILS(ENOENT, mpool_mblock_read(mp, id, iov, 2, 0));
  close_pool(mp);
}

TEST(Mblock, transfers_are_of_whole_pages) {
  struct mpool* const mp = new_pool();
  char* const data = new_pages(2 * MIB, 1);
  struct iovec many[1025];
  struct iovec iov;
  uint64_t id = 0;
  uint64_t committed;
  size_t i;
  OK(mpool_mblock_alloc(mp, MP_MED_CAPACITY, false, &id, NULL));
  committed = new_mblock(mp, 4 * PAGE, 1);
  iov.iov_base = data;
  iov.iov_len = 100;
  FAILS(EINVAL, mpool_mblock_write(mp, id, &iov, 1));
  FAILS(EINVAL, mpool_mblock_read(mp, committed, &iov, 1, 0));
  iov.iov_len = 0;
  FAILS(EINVAL, mpool_mblock_write(mp, id, &iov, 1));
  iov.iov_len = PAGE;
  iov.iov_base = data + 512;
  FAILS(EINVAL, mpool_mblock_write(mp, id, &iov, 1));
  FAILS(EINVAL, mpool_mblock_read(mp, committed, &iov, 1, 0));
  iov.iov_base = data;
  FAILS(EINVAL, mpool_mblock_write(mp, id, &iov, 0));
  FAILS(EINVAL, mpool_mblock_write(mp, id, &iov, -1));
  FAILS(EINVAL, mpool_mblock_read(mp, committed, &iov, 0, 0));
  FAILS(EINVAL, mpool_mblock_read(mp, committed, &iov, -1, 0));
  FAILS(EINVAL, mpool_mblock_read(mp, committed, &iov, 1, 512));
  FAILS(EINVAL, mpool_mblock_read(mp, committed, &iov, 1, -4096));
  FAILS(EINVAL, mpool_mblock_read(mp, committed, &iov, 1, (off_t)(4 * PAGE)));
  iov.iov_len = 2 * PAGE;
  FAILS(EINVAL, mpool_mblock_read(mp, committed, &iov, 1, (off_t)(3 * PAGE)));
  for (i = 0; i < 1025; ++i) {
    many[i].iov_base = data;
    many[i].iov_len = PAGE;
  }
  FAILS(EINVAL, mpool_mblock_write(mp, id, many, 1025));
  FAILS(EINVAL, mpool_mblock_write(mp, id, many, 257)); /* beyond the capacity */
  OK(mpool_mblock_write(mp, id, many, 256));
  FAILS(EINVAL, mpool_mblock_write(mp, id, many, 1));
  OK(mpool_mblock_commit(mp, id));
  close_pool(mp);
}

TEST(Mblock, objects_are_shared_by_handles) {
  struct mpool* const first = new_pool();
  struct mpool* const second = open_pool('a', O_RDWR);
  struct iovec iov;
  uint64_t id = 0;
  iov.iov_base = new_pages(PAGE, 1);
  iov.iov_len = PAGE;
  OK(mpool_mblock_alloc(first, MP_MED_CAPACITY, true, &id, NULL));
  OK(mpool_mblock_write(second, id, &iov, 1));
  OK(mpool_mblock_commit(second, id));
  OK(mpool_mblock_read(first, id, &iov, 1, 0));
  close_pool(first);
  OK(mpool_mblock_delete(second, id));
  close_pool(second);
}

TEST(Mblock, uncommitted_ones_do_not_survive) {
  struct mpool* mp = new_pool();
  struct mpool_usage before;
  struct mpool_usage after;
  const uint64_t kept = new_mblock(mp, 2 * PAGE, 3);
  const uint64_t empty = new_mblock(mp, 0, 0);
  struct iovec iov;
  uint64_t lost = 0;
  OK(mpool_usage_get(mp, &before));
  OK(mpool_mblock_alloc(mp, MP_MED_CAPACITY, false, &lost, NULL));
  close_pool(mp);
  restart_pool('a');
  mp = open_pool('a', O_RDWR);
  FAILS(ENOENT, mpool_mblock_find(mp, lost, NULL));
  OK(mpool_mblock_find(mp, empty, NULL));
  iov.iov_base = new_pages(2 * PAGE, 9);
  iov.iov_len = 2 * PAGE;
  OK(mpool_mblock_read(mp, kept, &iov, 1, 0));
  EXPECT(has_pages(iov.iov_base, 2 * PAGE, 3));
  OK(mpool_usage_get(mp, &after));
  EXPECT(after.mpu_used == before.mpu_used);
  close_pool(mp);
}

TEST(Mblock, of_32_mib_is_exactly_that_large) {
  struct mblock_props props;
  struct mpool* mp;
  uint64_t id = 0;
  struct iovec iov;
  make_pool('a', 4096, 32);
  mp = open_pool('a', O_RDWR);
  OK(mpool_mblock_alloc(mp, MP_MED_CAPACITY, false, &id, &props));
  EXPECT(props.mpr_alloc_cap == 32 * MIB);
  EXPECT((MIB - MIB % props.mpr_optimal_wrsz) % PAGE == 0);
  iov.iov_base = new_pages(32 * MIB, 4);
  iov.iov_len = 32 * MIB;
  OK(mpool_mblock_write(mp, id, &iov, 1));
  OK(mpool_mblock_commit(mp, id));
  memset(iov.iov_base, 0, iov.iov_len);
  OK(mpool_mblock_read(mp, id, &iov, 1, 0));
  EXPECT(has_pages(iov.iov_base, 32 * MIB, 4));
  close_pool(mp);
}

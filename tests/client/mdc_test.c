/* Pairs of mlogs. */
#include "harness.h"

static void new_mdc(struct mpool* mp, uint64_t capacity, uint64_t ids[2]) {
  struct mdc_capacity wanted;
  struct mdc_props props;
  memset(&wanted, 0, sizeof(wanted));
  wanted.mdt_captgt = capacity;
  OK(mpool_mdc_alloc(mp, &ids[0], &ids[1], MP_MED_CAPACITY, &wanted, &props));
  EXPECT(props.mdc_objid1 == ids[0] && props.mdc_objid2 == ids[1]);
  EXPECT(props.mdc_alloc_cap >= capacity && props.mdc_mclassp == MP_MED_CAPACITY);
  OK(mpool_mdc_commit(mp, ids[0], ids[1]));
}

static struct mpool_mdc* open_mdc(struct mpool* mp, const uint64_t ids[2]) {
  struct mpool_mdc* mdc = NULL;
  OK(mpool_mdc_open(mp, ids[0], ids[1], 0, &mdc));
  REQUIRE(mdc != NULL);
  return mdc;
}

static void put(struct mpool_mdc* mdc, const char* text) {
  OK(mpool_mdc_append(mdc, (void*)(uintptr_t)text, (ssize_t)strlen(text), false));
}

static int next_is(struct mpool_mdc* mdc, const char* text) {
  char data[100];
  size_t length = 1000;
  OK(mpool_mdc_read(mdc, data, sizeof(data), &length));
  return length == strlen(text) && memcmp(data, text, length) == 0;
}

/* What others append to the half of a compaction that never ends could not stay. */
TEST(Mdc, fails_for_others_when_a_compaction_is_given_up) {
  struct mpool* const mp = new_pool();
  struct mpool_mdc* mdc;
  struct mpool_mdc* other;
  uint64_t ids[2];
  new_mdc(mp, MIB, ids);
  mdc = open_mdc(mp, ids);
  other = open_mdc(mp, ids);
  put(other, "old");
  OK(mpool_mdc_cstart(mdc));
  put(mdc, "new");
  FAILS(EBUSY, mpool_mdc_append(other, ids, sizeof(ids), true));
  OK(mpool_mdc_close(mdc));
  FAILS(EINVAL, mpool_mdc_append(other, ids, sizeof(ids), true));
  mdc = open_mdc(mp, ids);
  EXPECT(next_is(mdc, "old") && next_is(mdc, ""));
  put(mdc, "more");
  FAILS(EINVAL, mpool_mdc_close(other));
  OK(mpool_mdc_sync(mdc));
  OK(mpool_mdc_rewind(mdc));
  EXPECT(next_is(mdc, "old") && next_is(mdc, "more") && next_is(mdc, ""));
  OK(mpool_mdc_close(mdc));
  close_pool(mp);
}

/* A pair that is committed is not deleted by a commit of it that fails. */
TEST(Mdc, stays_when_it_is_committed_twice) {
  struct mpool* const mp = new_pool();
  uint64_t ids[2];
  uint64_t log;
  struct mpool_mdc* mdc;
  new_mdc(mp, MIB, ids);
  mdc = open_mdc(mp, ids);
  put(mdc, "kept");
  OK(mpool_mdc_close(mdc));
  log = new_mlog(mp, MIB);
  FAILS(ENOENT, mpool_mdc_commit(mp, ids[0], ids[1]));
  FAILS(ENOENT, mpool_mdc_commit(mp, log, ids[1]));
  mdc = open_mdc(mp, ids);
  EXPECT(next_is(mdc, "kept"));
  OK(mpool_mdc_close(mdc));
  OK(mpool_mlog_delete(mp, log));
  OK(mpool_mdc_delete(mp, ids[0], ids[1]));
  close_pool(mp);
}

/* What another handle compacts is neither failed nor closed by a call that comes meanwhile. */
TEST(Mdc, is_usable_after_the_compaction_of_another_handle) {
  struct mpool* const mp = new_pool();
  struct mpool_mdc* mdc;
  struct mpool_mdc* other;
  uint64_t ids[2];
  new_mdc(mp, MIB, ids);
  mdc = open_mdc(mp, ids);
  other = open_mdc(mp, ids);
  OK(mpool_mdc_cstart(mdc));
  FAILS(EBUSY, mpool_mdc_cstart(other));
  FAILS(EBUSY, mpool_mdc_cend(other));
  FAILS(EBUSY, mpool_close(mp));
  put(mdc, "new");
  OK(mpool_mdc_cend(mdc));
  put(other, "more");
  OK(mpool_mdc_close(other));
  EXPECT(next_is(mdc, "new") && next_is(mdc, "more"));
  OK(mpool_mdc_close(mdc));
  close_pool(mp);
}

TEST(Mdc, is_compacted_in_two_calls) {
  struct mpool* const mp = new_pool();
  struct mpool_mdc* mdc;
  uint64_t ids[2];
  size_t before = 0;
  size_t after = 0;
  int i;
  new_mdc(mp, MIB, ids);
  mdc = open_mdc(mp, ids);
  for (i = 0; i < 1000; ++i)
    put(mdc, "old");
  OK(mpool_mdc_sync(mdc));
  OK(mpool_mdc_usage(mdc, &before));
  OK(mpool_mdc_cstart(mdc));
  EXPECT(next_is(mdc, ""));
  put(mdc, "new");
  put(mdc, "other");
  OK(mpool_mdc_cend(mdc));
  OK(mpool_mdc_usage(mdc, &after));
  EXPECT(after < before);
  put(mdc, "third");
  OK(mpool_mdc_rewind(mdc));
  EXPECT(next_is(mdc, "new") && next_is(mdc, "other") && next_is(mdc, "third"));
  EXPECT(next_is(mdc, ""));
  OK(mpool_mdc_close(mdc));
  mdc = open_mdc(mp, ids);
  EXPECT(next_is(mdc, "new") && next_is(mdc, "other") && next_is(mdc, "third"));
  OK(mpool_mdc_close(mdc));
  close_pool(mp);
}

TEST(Mdc, is_full_within_twelve_records) {
  struct mpool* const mp = new_pool();
  struct mpool_mdc* mdc;
  char* const data = new_pages(106592, 1);
  uint64_t ids[2];
  mpool_err_t err = 0;
  int count = 0;
  new_mdc(mp, MIB, ids);
  mdc = open_mdc(mp, ids);
  for (; err == 0 && count < 12; ++count)
    err = mpool_mdc_append(mdc, data, 106592, false);
  FAILS(EFBIG, err);
  OK(mpool_mdc_cstart(mdc));
  OK(mpool_mdc_append(mdc, data, 106592, false));
  OK(mpool_mdc_cend(mdc));
  OK(mpool_mdc_append(mdc, data, 106592, true));
  OK(mpool_mdc_close(mdc));
  close_pool(mp);
}

TEST(Mdc, may_be_opened_twice) {
  struct mpool* const mp = new_pool();
  struct mpool_mdc* first;
  struct mpool_mdc* second;
  struct mpool_mlog* log = NULL;
  uint64_t ids[2];
  uint64_t gen = 0;
  new_mdc(mp, MIB, ids);
  first = open_mdc(mp, ids);
  second = open_mdc(mp, ids);
  put(first, "a");
  put(second, "b");
  EXPECT(next_is(first, "a"));
  EXPECT(next_is(second, "b"));
  FAILS(EBUSY, mpool_mdc_delete(mp, ids[0], ids[1]));
  FAILS(EBUSY, mpool_close(mp));
  OK(mpool_mdc_close(first));
  put(second, "c");
  OK(mpool_mdc_close(second));
  OK(mpool_mlog_open(mp, ids[0], MLOG_OF_COMPACT_SEM, &gen, &log));
  OK(mpool_mlog_close(log));
  OK(mpool_mdc_delete(mp, ids[0], ids[1]));
  close_pool(mp);
}

TEST(Mdc, delete_goes_on_after_a_failure) {
  struct mpool* const mp = new_pool();
  const struct mdc_capacity capacity = {1 << 20, false};
  struct mpool_mdc* mdc = NULL;
  uint64_t ids[2];
  uint64_t log_id;
  new_mdc(mp, MIB, ids);
  OK(mpool_mlog_delete(mp, ids[0]));
  FAILS(ENOENT, mpool_mdc_open(mp, ids[0], ids[1], 0, &mdc));
  FAILS(ENOENT, mpool_mdc_delete(mp, ids[0], ids[1]));
  FAILS(ENOENT, mpool_mlog_delete(mp, ids[1])); /* it is gone */
  OK(mpool_mdc_alloc(mp, &ids[0], &ids[1], MP_MED_CAPACITY, &capacity, NULL));
  FAILS(ENOENT, mpool_mdc_delete(mp, ids[0], ids[1])); /* only allocated, and gone */
  FAILS(ENOENT, mpool_mlog_abort(mp, ids[0]));
  OK(mpool_mdc_alloc(mp, &ids[0], &ids[1], MP_MED_CAPACITY, &capacity, NULL));
  OK(mpool_mdc_abort(mp, ids[0], ids[1]));
  FAILS(ENOENT, mpool_mdc_abort(mp, ids[0], ids[1]));
  /* A commit that fails leaves neither. */
  log_id = new_mlog(mp, MIB);
  OK(mpool_mdc_alloc(mp, &ids[0], &ids[1], MP_MED_CAPACITY, &capacity, NULL));
  OK(mpool_mlog_abort(mp, ids[1]));
  FAILS(ENOENT, mpool_mdc_commit(mp, ids[0], ids[1]));
  FAILS(ENOENT, mpool_mlog_delete(mp, ids[0]));
  OK(mpool_mlog_delete(mp, log_id));
  close_pool(mp);
}

TEST(Mdc, without_room_for_both_has_none) {
  struct mpool* const mp = new_pool();
  struct mdc_capacity capacity = {150u << 20, false};
  struct mpool_usage before;
  struct mpool_usage after;
  uint64_t a = 5;
  uint64_t b = 5;
  OK(mpool_usage_get(mp, &before));
  FAILS(ENOSPC, mpool_mdc_alloc(mp, &a, &b, MP_MED_CAPACITY, &capacity, NULL));
  FAILS(ENOENT, mpool_mdc_alloc(mp, &a, &b, MP_MED_STAGING, &capacity, NULL));
  EXPECT(a == 5 && b == 5);
  OK(mpool_usage_get(mp, &after));
  EXPECT(after.mpu_used <= before.mpu_used);
  close_pool(mp);
}

TEST(Mdc, a_failed_start_ends_its_use) {
  struct mpool* const mp = new_pool();
  struct mpool_mdc* mdc;
  uint64_t ids[2];
  char data[10] = "data";
  size_t length = 0;
  new_mdc(mp, MIB, ids);
  mdc = open_mdc(mp, ids);
  put(mdc, "a");
  OK(mpool_mdc_cstart(mdc));
  FAILS(EINVAL, mpool_mdc_cstart(mdc)); /* one is under way */
  FAILS(EINVAL, mpool_mdc_append(mdc, data, 4, false));
  FAILS(EINVAL, mpool_mdc_read(mdc, data, sizeof(data), &length));
  FAILS(EINVAL, mpool_mdc_rewind(mdc));
  FAILS(EINVAL, mpool_mdc_sync(mdc));
  FAILS(EINVAL, mpool_mdc_usage(mdc, &length));
  FAILS(EINVAL, mpool_mdc_cstart(mdc));
  FAILS(EINVAL, mpool_mdc_cend(mdc));
  (void)mpool_mdc_close(mdc); /* programs exist that close it */
  mdc = open_mdc(mp, ids);
  EXPECT(next_is(mdc, "a"));
  OK(mpool_mdc_close(mdc));
  close_pool(mp);
}

ENGINE_TEST(Mdc, the_root_is_a_pair) {
  struct mpool* const mp = new_pool();
  struct mpool_params params;
  uint64_t ids[2] = {0, 0};
  struct mpool_mdc* mdc;
  OK(mpool_mdc_get_root(mp, &ids[0], &ids[1]));
  OK(mpool_params_get(mp, &params, NULL));
  EXPECT(params.mp_oidv[0] == ids[0] && params.mp_oidv[1] == ids[1]);
  mdc = open_mdc(mp, ids);
  EXPECT(next_is(mdc, ""));
  OK(mpool_mdc_cstart(mdc));
  put(mdc, "ours");
  OK(mpool_mdc_cend(mdc));
  OK(mpool_mdc_close(mdc));
  mdc = open_mdc(mp, ids);
  EXPECT(next_is(mdc, "ours"));
  OK(mpool_mdc_close(mdc));
  close_pool(mp);
}

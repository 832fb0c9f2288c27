/* Mlogs. */
#include <sys/mman.h>

#include "harness.h"

static struct mpool_mlog* open_log(struct mpool* mp, uint64_t id) {
  struct mpool_mlog* log = NULL;
  uint64_t gen = ~0ull;
  OK(mpool_mlog_open(mp, id, 0, &gen, &log));
  REQUIRE(log != NULL && gen != ~0ull);
  return log;
}

/* The next record is this text. */
static int reads(struct mpool_mlog* log, const char* text) {
  char data[200];
  size_t length = 1000;
  OK(mpool_mlog_read(log, data, sizeof(data), &length));
  return length == strlen(text) && memcmp(data, text, length) == 0;
}

TEST(Mlog, lives_from_alloc_to_delete) {
  struct mpool* const mp = new_pool();
  struct mlog_capacity capacity;
  struct mlog_props props;
  struct mpool_mlog* log = NULL;
  uuid_t none;
  uint64_t id = 0;
  uint64_t gen = 0;
  uuid_clear(none);
  memset(&capacity, 0x5a, sizeof(capacity));
  capacity.lcp_captgt = 2 * MIB + 1;
  OK(mpool_mlog_alloc(mp, MP_MED_CAPACITY, &capacity, &id, &props));
  EXPECT(props.lpr_objid == id && props.lpr_alloc_cap == 3 * MIB && !props.lpr_iscommitted);
  EXPECT(props.lpr_mclassp == MP_MED_CAPACITY && uuid_compare(props.lpr_uuid, none) != 0);
  EXPECT(props.lpr_rsvd2 == 0);
  FAILS(EINVAL, mpool_mlog_open(mp, id, 0, &gen, &log));
  FAILS(ENOENT, mpool_mlog_delete(mp, id));
  OK(mpool_mlog_commit(mp, id));
  FAILS(ENOENT, mpool_mlog_commit(mp, id));
  FAILS(ENOENT, mpool_mlog_abort(mp, id));
  log = open_log(mp, id);
  FAILS(EBUSY, mpool_mlog_delete(mp, id));
  OK(mpool_mlog_props_get(log, &props));
  EXPECT(props.lpr_iscommitted == 1 && props.lpr_objid == id);
  OK(mpool_mlog_close(log));
  OK(mpool_mlog_delete(mp, id));
  FAILS(ENOENT, mpool_mlog_delete(mp, id));
  FAILS(ENOENT, mpool_mlog_open(mp, id, 0, &gen, &log));
  FAILS(EINVAL, mpool_mlog_open(mp, new_mblock(mp, 0, 0), 0, &gen, &log));
  capacity.lcp_captgt = 0;
  OK(mpool_mlog_alloc(mp, MP_MED_CAPACITY, &capacity, &id, &props));
  EXPECT(props.lpr_alloc_cap == MIB); /* 0: one zone */
  OK(mpool_mlog_abort(mp, id));
  FAILS(ENOENT, mpool_mlog_abort(mp, id));
  capacity.lcp_captgt = 1ull << 40;
  FAILS(ENOSPC, mpool_mlog_alloc(mp, MP_MED_CAPACITY, &capacity, &id, &props));
  FAILS(ENOENT, mpool_mlog_alloc(mp, MP_MED_STAGING, &capacity, &id, &props));
  close_pool(mp);
}

TEST(Mlog, records_are_read_in_order) {
  struct mpool* const mp = new_pool();
  const uint64_t id = new_mlog(mp, MIB);
  struct mpool_mlog* log = open_log(mp, id);
  struct iovec iov[5] = {{"a", 1}, {NULL, 0}, {"bc", 2}, {NULL, 3}, {"xyz", 3}};
  char data[10];
  size_t length = 9;
  OK(mpool_mlog_read(log, data, sizeof(data), &length));
  EXPECT(length == 0);
  OK(mpool_mlog_append(log, iov, 8, 0)); /* the last entry in part; a null base stands for zeros */
  EXPECT(iov[0].iov_len == 1 && iov[4].iov_len == 3);
  OK(mpool_mlog_read(log, data, sizeof(data), &length));
  EXPECT(length == 8 && memcmp(data, "abc\0\0\0xy", 8) == 0);
  OK(append(log, "second", 6, 1));
  OK(mpool_mlog_append(log, NULL, 0, 0)); /* of 0 bytes */
  OK(append(log, "third", 5, 0));
  EXPECT(reads(log, "second"));
  EXPECT(reads(log, ""));
  EXPECT(reads(log, "third"));
  EXPECT(reads(log, ""));
  OK(mpool_mlog_rewind(log));
  OK(mpool_mlog_close(log));
  log = open_log(mp, id);
  OK(mpool_mlog_read(log, data, sizeof(data), &length));
  EXPECT(length == 8);
  EXPECT(reads(log, "second"));
  OK(mpool_mlog_close(log));
  close_pool(mp);
}

TEST(Mlog, size_only_says_how_long_a_record_may_be) {
  struct mpool* const mp = new_pool();
  struct mpool_mlog* const log = open_log(mp, new_mlog(mp, MIB));
  char* const memory =
      mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* const record = memory + PAGE - 40; /* the page behind the record cannot be touched */
  char text[40];
  size_t length = 0;
  int i;
  REQUIRE(memory != MAP_FAILED && mprotect(memory + PAGE, PAGE, PROT_NONE) == 0);
  for (i = 0; i < 1000; ++i) {
    memset(text, 'a' + i % 26, sizeof(text));
    OK(append(log, text, sizeof(text), i % 100 == 0));
  }
  for (i = 0; i < 1000; ++i) {
    if (i % 2 == 0) {
      OK(mpool_mlog_read(log, record, (size_t)1 << 30, &length));
    } else {
      OK(mpool_mlog_seek_read(log, 0, record, (size_t)1 << 30, &length));
    }
    REQUIRE(length == 40 && record[0] == 'a' + i % 26 && record[39] == record[0]);
  }
  OK(mpool_mlog_read(log, record, (size_t)1 << 30, &length));
  EXPECT(length == 0);
  OK(mpool_mlog_close(log));
  munmap(memory, 2 * PAGE);
  close_pool(mp);
}

TEST(Mlog, seek_read_passes_over_one_record) {
  struct mpool* const mp = new_pool();
  struct mpool_mlog* const log = open_log(mp, new_mlog(mp, MIB));
  char data[10];
  size_t length = 0;
  OK(append(log, "four", 4, 0));
  OK(append(log, "seventy", 7, 0));
  OK(append(log, "one", 3, 0));
  FAILS(EOVERFLOW, mpool_mlog_read(log, data, 3, &length));
  EXPECT(length == 4);
  FAILS(EOVERFLOW, mpool_mlog_read(log, data, 0, &length));
  EXPECT(length == 4);
  FAILS(EOVERFLOW, mpool_mlog_seek_read(log, 3, data, sizeof(data), &length));
  EXPECT(length == 4); /* nothing was passed over */
  OK(mpool_mlog_seek_read(log, 4, data, sizeof(data), &length));
  EXPECT(length == 7 && memcmp(data, "seventy", 7) == 0);
  OK(mpool_mlog_rewind(log));
  OK(mpool_mlog_seek_read(log, 4, NULL, 0, &length));
  EXPECT(length == 4);
  FAILS(ERANGE, mpool_mlog_seek_read(log, 8, data, sizeof(data), &length));
  EXPECT(length == 7); /* behind it */
  EXPECT(reads(log, "one"));
  FAILS(ERANGE, mpool_mlog_seek_read(log, 5, data, sizeof(data), &length));
  EXPECT(length == 0); /* the end */
  OK(mpool_mlog_seek_read(log, 0, data, sizeof(data), &length));
  EXPECT(length == 0);
  OK(append(log, "five!", 5, 0));
  OK(mpool_mlog_seek_read(log, 5, data, 0, &length));
  EXPECT(length == 5);
  OK(mpool_mlog_close(log));
  close_pool(mp);
}

TEST(Mlog, a_full_one_says_efbig) {
  struct mpool* const mp = new_pool();
  struct mpool_mlog* log;
  const uint64_t id = new_mlog(mp, MIB);
  char* const data = new_pages(100000, 1);
  size_t length = 0;
  int count = 0;
  int i;
  log = open_log(mp, id);
  while (mpool_errno(append(log, data, 100000, 0)) == 0)
    ++count;
  FAILS(EFBIG, append(log, data, 100000, 1));
  EXPECT(count >= 8 && count <= 10);
  OK(mpool_mlog_len(log, &length));
  EXPECT(length <= MIB && length >= (size_t)count * 100000);
  OK(mpool_mlog_close(log));
  log = open_log(mp, id);
  for (i = 0; i < count; ++i) {
    OK(mpool_mlog_read(log, data, 100000, &length));
    EXPECT(length == 100000);
  }
  EXPECT(reads(log, ""));
  OK(mpool_mlog_erase(log, 0));
  OK(append(log, data, 100000, 1));
  OK(mpool_mlog_close(log));
  close_pool(mp);
}

TEST(Mlog, erase_raises_the_generation) {
  struct mpool* const mp = new_pool();
  const uint64_t id = new_mlog(mp, MIB);
  struct mpool_mlog* log = open_log(mp, id);
  struct mlog_props props;
  uint64_t first;
  uint64_t gen = 0;
  size_t length = 0;
  OK(mpool_mlog_props_get(log, &props));
  first = props.lpr_gen;
  OK(append(log, "x", 1, 1));
  OK(mpool_mlog_erase(log, 0));
  OK(mpool_mlog_props_get(log, &props));
  EXPECT(props.lpr_gen == first + 1);
  OK(mpool_mlog_len(log, &length));
  EXPECT(length <= PAGE);
  EXPECT(reads(log, ""));
  OK(mpool_mlog_erase(log, first + 100));
  OK(append(log, "y", 1, 0));
  OK(mpool_mlog_close(log));
  OK(mpool_mlog_open(mp, id, 0, &gen, &log));
  EXPECT(gen == first + 100);
  EXPECT(reads(log, "y"));
  OK(mpool_mlog_close(log));
  close_pool(mp);
}

TEST(Mlog, several_opens_share_one_position) {
  struct mpool* const mp = new_pool();
  struct mpool* const other = open_pool('a', O_RDWR);
  const uint64_t id = new_mlog(mp, MIB);
  struct mpool_mlog* const first = open_log(mp, id);
  struct mpool_mlog* const second = open_log(other, id);
  struct mpool_mlog* third = NULL;
  uint64_t gen = 0;
  OK(append(first, "a", 1, 0));
  OK(append(second, "b", 1, 0));
  EXPECT(reads(second, "a"));
  EXPECT(reads(first, "b"));
  FAILS(EINVAL, mpool_mlog_open(mp, id, MLOG_OF_COMPACT_SEM, &gen, &third));
  FAILS(EINVAL, mpool_mlog_open(mp, id, MLOG_OF_SKIP_SER, &gen, &third));
  FAILS(EBUSY, mpool_close(other));
  OK(mpool_mlog_close(second));
  close_pool(other);
  FAILS(EBUSY, mpool_mlog_delete(mp, id));
  OK(append(first, "c", 1, 0));
  EXPECT(reads(first, "c"));
  OK(mpool_mlog_close(first));
  OK(mpool_mlog_open(mp, id, MLOG_OF_SKIP_SER, &gen, &third));
  OK(mpool_mlog_close(third));
  FAILS(ENODATA, mpool_mlog_open(mp, id, MLOG_OF_COMPACT_SEM, &gen, &third));
  close_pool(mp);
}

TEST(Mlog, compaction_semantics_want_a_start_marker) {
  struct mpool* const mp = new_pool();
  struct mpool_mlog* log = NULL;
  uint64_t gen = 0;
  OK(mpool_mlog_open(mp, new_mlog(mp, MIB), MLOG_OF_COMPACT_SEM, &gen, &log));
  FAILS(EINVAL, append(log, "x", 1, 0));
  OK(mpool_mlog_close(log));
  close_pool(mp);
}

TEST(Mlog, len_does_not_go_down_by_reopening) {
  struct mpool* const mp = new_pool();
  const uint64_t id = new_mlog(mp, MIB);
  char data[700] = "record";
  size_t before = 0;
  int i;
  for (i = 0; i < 60; ++i) {
    struct mpool_mlog* const log = open_log(mp, id);
    size_t length = 0;
    OK(mpool_mlog_len(log, &length));
    EXPECT(length >= before);
    if (i == 0) EXPECT(length <= PAGE);
    OK(append(log, data, (size_t)(i * 11 + 1), i % 3 == 0));
    OK(mpool_mlog_len(log, &before));
    OK(mpool_mlog_close(log));
  }
  close_pool(mp);
}

TEST(Mlog, hundreds_may_be_open) {
  struct mpool_mlog* logs[516];
  struct mpool* mp;
  int i;
  make_pool('a', 1024, 1);
  mp = open_pool('a', O_RDWR);
  for (i = 0; i < 516; ++i) {
    logs[i] = open_log(mp, new_mlog(mp, MIB));
    OK(append(logs[i], &i, sizeof(i), 0));
  }
  for (i = 0; i < 516; ++i) {
    int found = -1;
    size_t length = 0;
    OK(mpool_mlog_read(logs[i], &found, sizeof(found), &length));
    EXPECT(length == sizeof(found) && found == i);
    OK(mpool_mlog_close(logs[i]));
  }
  close_pool(mp);
}

TEST(Mlog, one_record_of_many_parts) {
  struct mpool* mp;
  struct mpool_mlog* log;
  struct iovec* const iov = calloc(5000, sizeof(*iov));
  char* const data = new_pages(12 * MIB, 1);
  char* const found = new_pages(12 * MIB, 2);
  size_t at = 0;
  size_t length = 0;
  int i;
  make_pool('a', 1024, 1);
  mp = open_pool('a', O_RDWR);
  log = open_log(mp, new_mlog(mp, 30 * MIB));
  for (i = 0; i < 5000; ++i) {
    iov[i].iov_base = data + at;
    iov[i].iov_len = (size_t)(i % 37) * 100 + 1;
    at += iov[i].iov_len;
  }
  OK(append(log, "header", 6, 0));
  OK(mpool_mlog_append(log, iov, at, 1));
  EXPECT(reads(log, "header"));
  FAILS(EOVERFLOW, mpool_mlog_read(log, found, at - 1, &length));
  EXPECT(length == at);
  OK(mpool_mlog_read(log, found, at, &length));
  EXPECT(length == at && memcmp(data, found, at) == 0);
  OK(mpool_mlog_close(log));
  free(iov);
  close_pool(mp);
}

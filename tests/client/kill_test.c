/* A process is killed in the middle of its work: what it knew to be durable is there. */
#include <sys/mman.h>

#include "harness.h"

#define MAX_KNOWN 20000

/* What the killed process told about its progress, in shared memory. */
struct progress {
  uint64_t log_id;
  uint64_t mdc_ids[2];
  unsigned appended;  /* records of the log, synced */
  unsigned mdc_round; /* the last compaction that ended */
  unsigned committed; /* elements of ids */
  unsigned deleted;   /* the first of them */
  uint64_t ids[MAX_KNOWN];
};

static struct progress* new_progress(void) {
  struct progress* const progress =
      mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(progress != MAP_FAILED);
  return progress;
}

static void work_on_log(void* argument) {
  struct progress* const progress = argument;
  struct mpool* const mp = open_pool('a', O_RDWR);
  struct mpool_mlog* log = NULL;
  uint64_t gen = 0;
  OK(mpool_mlog_open(mp, progress->log_id, 0, &gen, &log));
  for (;;) {
    char record[300];
    const unsigned number = progress->appended + 1;
    mpool_err_t err;
    memset(record, (int)(number % 251), sizeof(record));
    memcpy(record, &number, sizeof(number));
    err = append(log, record, 10 + number % 290, 1);
    if (mpool_errno(err) == EFBIG) pause();
    OK(err);
    progress->appended = number;
  }
}

TEST(Kill, keeps_synced_records) {
  struct progress* const progress = new_progress();
  struct mpool* mp = new_pool();
  unsigned round;
  progress->log_id = new_mlog(mp, 32 * MIB);
  close_pool(mp);
  for (round = 0; round < 4; ++round) {
    struct mpool_mlog* log = NULL;
    uint64_t gen = 0;
    unsigned expected = 1;
    killed_at(work_on_log, progress, &progress->appended, progress->appended + 7 + round * 40);
    mp = open_pool('a', O_RDWR | O_EXCL);
    OK(mpool_mlog_open(mp, progress->log_id, 0, &gen, &log));
    for (;; ++expected) {
      char record[300];
      size_t length = 0;
      unsigned number = 0;
      OK(mpool_mlog_read(log, record, sizeof(record), &length));
      if (length == 0) break;
      memcpy(&number, record, sizeof(number));
      REQUIRE(number == expected && length == 10 + number % 290);
      REQUIRE(record[length - 1] == (char)(number % 251));
    }
    EXPECT(expected - 1 >= progress->appended && progress->appended > 0);
    progress->appended = expected - 1; /* one more may have been written */
    OK(mpool_mlog_close(log));
    close_pool(mp);
  }
}

static void work_on_mblocks(void* argument) {
  struct progress* const progress = argument;
  struct mpool* const mp = open_pool('a', O_RDWR);
  while (progress->committed < MAX_KNOWN) {
    const unsigned number = progress->committed;
    progress->ids[number] = new_mblock(mp, (number % 3 + 1) * PAGE, number);
    progress->committed = number + 1;
    if (number % 5 == 4) {
      OK(mpool_mblock_delete(mp, progress->ids[progress->deleted]));
      ++progress->deleted;
    }
  }
  pause();
}

TEST(Kill, keeps_committed_mblocks_and_no_deleted_ones) {
  struct progress* const progress = new_progress();
  struct mpool* mp = NULL;
  struct iovec iov;
  unsigned round;
  make_pool('a', 4096, 1);
  iov.iov_base = new_pages(3 * PAGE, 0);
  for (round = 0; round < 3; ++round) {
    unsigned i;
    killed_at(work_on_mblocks, progress, &progress->committed,
              progress->committed + 13 + round * 20);
    mp = open_pool('a', O_RDWR);
    for (i = 0; i < progress->deleted; ++i)
      FAILS(ENOENT, mpool_mblock_find(mp, progress->ids[i], NULL));
    if (progress->deleted < progress->committed &&
        mpool_errno(mpool_mblock_find(mp, progress->ids[progress->deleted], NULL)) == ENOENT) {
      ++progress->deleted; /* the deletion that was not reported any more */
    }
    for (i = progress->deleted; i < progress->committed; ++i) {
      iov.iov_len = (i % 3 + 1) * PAGE;
      OK(mpool_mblock_read(mp, progress->ids[i], &iov, 1, 0));
      REQUIRE(has_pages(iov.iov_base, iov.iov_len, i));
    }
    EXPECT(progress->committed > 0);
    close_pool(mp);
  }
}

static void work_on_mdc(void* argument) {
  struct progress* const progress = argument;
  struct mpool* const mp = open_pool('a', O_RDWR);
  struct mpool_mdc* mdc = NULL;
  OK(mpool_mdc_open(mp, progress->mdc_ids[0], progress->mdc_ids[1], 0, &mdc));
  for (;;) {
    unsigned number = progress->mdc_round + 1;
    unsigned i;
    OK(mpool_mdc_cstart(mdc));
    for (i = 0; i < 20; ++i)
      OK(mpool_mdc_append(mdc, &number, sizeof(number), false));
    OK(mpool_mdc_cend(mdc));
    progress->mdc_round = number;
  }
}

TEST(Kill, leaves_a_pair_old_or_new) {
  struct progress* const progress = new_progress();
  const struct mdc_capacity capacity = {1 << 20, false};
  struct mpool* mp = new_pool();
  unsigned round;
  OK(mpool_mdc_alloc(mp, &progress->mdc_ids[0], &progress->mdc_ids[1], MP_MED_CAPACITY, &capacity,
                     NULL));
  OK(mpool_mdc_commit(mp, progress->mdc_ids[0], progress->mdc_ids[1]));
  close_pool(mp);
  for (round = 0; round < 4; ++round) {
    struct mpool_mdc* mdc = NULL;
    unsigned first = 0;
    unsigned count = 0;
    killed_at(work_on_mdc, progress, &progress->mdc_round, progress->mdc_round + 2 + round * 9);
    mp = open_pool('a', O_RDWR);
    OK(mpool_mdc_open(mp, progress->mdc_ids[0], progress->mdc_ids[1], 0, &mdc));
    for (;; ++count) {
      unsigned number = 0;
      size_t length = 0;
      OK(mpool_mdc_read(mdc, &number, sizeof(number), &length));
      if (length == 0) break;
      if (count == 0) first = number;
      REQUIRE(number == first);
    }
    EXPECT(count == 20 && progress->mdc_round > 0);
    EXPECT(first == progress->mdc_round || first == progress->mdc_round + 1);
    progress->mdc_round = first;
    OK(mpool_mdc_close(mdc));
    close_pool(mp);
  }
}

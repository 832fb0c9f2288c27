/* A pool whose root MDC has a tree of mpoolfs is never harmed, and mpoolfs harms no other. */
#include "harness.h"

static int check_pool(void) {
  return shell("\"$MPOOL\" check %s", image_path('a', 0));
}

static int tree_is_whole(void) {
  int whole;
  if (mount_pool('a') != 0) return 0;
  whole = shell("[ \"$(cat %s/directory/file)\" = content ]", mount_point('a')) == 0;
  return umount_pool('a') == 0 && whole && check_pool() == 0;
}

static mpool_err_t find_mblock(struct mpool* mp, uint64_t id) {
  return mpool_mblock_find(mp, id, NULL);
}
/* 0: it is there, and cannot be deleted. */
static mpool_err_t find_kept_mlog(struct mpool* mp, uint64_t id) {
  const mpool_err_t error = mpool_mlog_delete(mp, id);
  return mpool_errno(error) == EPERM ? 0 : ENOENT;
}

/* The first object of a type in the pool, of those that a new pool with two files may have, from a
   uniquifier on; 0: none. */
static uint64_t first_object(struct mpool* mp, uint64_t type, uint64_t uniquifier,
                             mpool_err_t (*find)(struct mpool*, uint64_t)) {
  for (; uniquifier < 1024; ++uniquifier) {
    uint64_t slot;
    for (slot = 1; slot <= 64; ++slot) {
      const uint64_t id = (uniquifier << 12) | (type << 8) | slot;
      if (find(mp, id) == 0) return id;
    }
  }
  return 0;
}

ENGINE_TEST(Tree, is_never_harmed) {
  struct mpool* mp = NULL;
  struct mpool_mdc* mdc = NULL;
  uint64_t ids[2] = {0, 0};
  uint64_t mblock = 0, pack = 0, own = 0;
  make_pool('a', 512, 1);
  REQUIRE(mount_pool('a') == 0);
  EXPECT(shell("cd %s && mkdir directory && echo content > directory/file && "
               "head -c 300000 /dev/zero > directory/large",
               mount_point('a')) == 0);
  close_pool(open_pool('a', O_RDWR)); /* through the mount */
  REQUIRE(umount_pool('a') == 0);
  EXPECT(tree_is_whole());

  mp = open_pool('a', O_RDWR | O_EXCL);
  OK(mpool_mdc_get_root(mp, &ids[0], &ids[1]));
  FAILS(EMEDIUMTYPE, mpool_mdc_open(mp, ids[0], ids[1], 0, &mdc));
  FAILS(EMEDIUMTYPE, mpool_mdc_open(mp, ids[1], ids[0], 0, &mdc));
  EXPECT(mdc == NULL);
  EXPECT(mpool_mdc_delete(mp, ids[0], ids[1]) != 0);
  EXPECT(mpool_mlog_delete(mp, ids[0]) != 0);
  mblock = first_object(mp, 1, 0, find_mblock);
  REQUIRE(mblock != 0);
  FAILS(EPERM, mpool_mblock_delete(mp, mblock));
  pack = first_object(mp, 2, 2, find_kept_mlog); /* the root MDC has the first two */
  EXPECT(pack != 0);
  OK(mpool_mblock_alloc(mp, MP_MED_CAPACITY, false, &own, NULL));
  OK(mpool_mblock_commit(mp, own));
  OK(mpool_mblock_delete(mp, own));
  close_pool(mp);
  EXPECT(tree_is_whole());
}

ENGINE_TEST(Tree, of_another_program_is_left_alone) {
  struct mpool_params params;
  struct mpool_mdc* mdc = NULL;
  struct mpool* mp = new_pool();
  uint64_t ids[2] = {0, 0};
  char data[20];
  size_t length = 0;
  OK(mpool_params_get(mp, &params, NULL));
  memset(params.mp_utype, 0x42, sizeof(params.mp_utype));
  OK(mpool_params_set(mp, &params, NULL));
  OK(mpool_mdc_get_root(mp, &ids[0], &ids[1]));
  OK(mpool_mdc_open(mp, ids[0], ids[1], 0, &mdc));
  OK(mpool_mdc_append(mdc, "other program", 13, true));
  OK(mpool_mdc_close(mdc));
  close_pool(mp);
  if (mount_pool('a') == 0) {
    EXPECT(shell("touch %s/file", mount_point('a')) != 0); /* read-only */
    EXPECT(umount_pool('a') == 0);
  }
  mp = open_pool('a', O_RDWR);
  OK(mpool_mdc_open(mp, ids[0], ids[1], 0, &mdc));
  OK(mpool_mdc_read(mdc, data, sizeof(data), &length));
  EXPECT(length == 13 && memcmp(data, "other program", 13) == 0);
  OK(mpool_mdc_close(mdc));
  close_pool(mp);
}

/* What only a mount can do: several processes on one pool, beside its tree. */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "harness.h"

#define RECORDS 300

struct exchange {
  uint64_t ids[4];
  volatile unsigned begun;
};

static struct exchange* new_exchange(void) {
  struct exchange* const exchange =
      mmap(NULL, sizeof(*exchange), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(exchange != MAP_FAILED);
  return exchange;
}

static struct mpool_mlog* open_log(struct mpool* mp, uint64_t id) {
  struct mpool_mlog* log = NULL;
  uint64_t gen = 0;
  OK(mpool_mlog_open(mp, id, 0, &gen, &log));
  return log;
}

/* Each record is the id of a new mblock, whose content follows from the number of the record. */
static void put_in_queue(void* argument) {
  const struct exchange* const exchange = argument;
  struct mpool* const mp = open_pool('a', O_RDWR);
  struct mpool_mlog* const log = open_log(mp, exchange->ids[0]);
  unsigned i;
  for (i = 0; i < RECORDS; ++i) {
    const uint64_t id = i % 20 == 0 ? new_mblock(mp, PAGE, i) : i;
    OK(append(log, &id, sizeof(id), i % 10 == 0));
  }
  OK(mpool_mlog_close(log));
  close_pool(mp);
}

static void take_one(struct mpool* mp, uint64_t value, unsigned number) {
  struct mpool_mcache_map* map = NULL;
  if (number % 20 != 0) {
    REQUIRE(value == number);
    return;
  }
  OK(mpool_mcache_mmap(mp, 1, &value, MPC_VMA_COLD, &map));
  EXPECT(has_pages(mpool_mcache_getbase(map, 0), PAGE, number));
  OK(mpool_mcache_munmap(map));
  OK(mpool_mblock_delete(mp, value));
}

static void take_from_queue(void* argument) {
  const struct exchange* const exchange = argument;
  struct mpool* const mp = open_pool('a', O_RDWR);
  struct mpool_mlog* const log = open_log(mp, exchange->ids[0]);
  unsigned i = 0;
  while (i < RECORDS) {
    uint64_t value = 0;
    size_t length = 0;
    OK(mpool_mlog_read(log, &value, sizeof(value), &length));
    if (length == 0) {
      sched_yield();
    } else {
      take_one(mp, value, i++);
    }
  }
  OK(mpool_mlog_close(log));
  close_pool(mp);
}

MOUNT_TEST(Mount, two_processes_share_a_queue) {
  struct exchange* const exchange = new_exchange();
  struct mpool* mp = new_pool();
  pid_t taker;
  int status = 0;
  exchange->ids[0] = new_mlog(mp, 4 * MIB);
  close_pool(mp);
  taker = fork();
  REQUIRE(taker >= 0);
  if (taker == 0) {
    take_from_queue(exchange);
    _exit(0);
  }
  EXPECT(in_process(put_in_queue, exchange));
  REQUIRE(waitpid(taker, &status, 0) == taker);
  EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  mp = open_pool('a', O_RDWR);
  OK(mpool_mlog_delete(mp, exchange->ids[0]));
  close_pool(mp);
}

static void leave_much_unfinished(void* argument) {
  struct exchange* const exchange = argument;
  struct mpool* const mp = open_pool('a', O_RDWR | O_EXCL);
  struct mpool_mcache_map* map = NULL;
  struct mpool_mlog* log;
  struct mlog_capacity capacity = {MIB, 0, {0}};
  struct iovec iov;
  iov.iov_base = new_pages(8 * PAGE, 1);
  iov.iov_len = 8 * PAGE;
  OK(mpool_mblock_alloc(mp, MP_MED_CAPACITY, false, &exchange->ids[1], NULL));
  OK(mpool_mblock_write(mp, exchange->ids[1], &iov, 1));
  OK(mpool_mlog_alloc(mp, MP_MED_CAPACITY, &capacity, &exchange->ids[2], NULL));
  OK(mpool_mcache_mmap(mp, 1, &exchange->ids[0], MPC_VMA_COLD, &map));
  EXPECT(has_pages(mpool_mcache_getbase(map, 0), PAGE, 1));
  log = open_log(mp, exchange->ids[3]);
  OK(append(log, "synced", 6, 1));
  exchange->begun = 1;
  pause();
}

MOUNT_TEST(Mount, a_killed_process_leaves_nothing) {
  struct exchange* const exchange = new_exchange();
  struct mpool* mp = new_pool();
  struct mpool_mlog* log;
  char data[10];
  size_t length = 0;
  exchange->ids[0] = new_mblock(mp, PAGE, 1);
  exchange->ids[3] = new_mlog(mp, MIB);
  close_pool(mp);
  killed_at(leave_much_unfinished, exchange, &exchange->begun, 1);
  mp = open_pool('a', O_RDWR | O_EXCL);
  FAILS(ENOENT, mpool_mblock_find(mp, exchange->ids[1], NULL));
  FAILS(ENOENT, mpool_mlog_abort(mp, exchange->ids[2]));
  OK(mpool_mblock_delete(mp, exchange->ids[0]));
  log = open_log(mp, exchange->ids[3]);
  OK(mpool_mlog_read(log, data, sizeof(data), &length));
  EXPECT(length == 6 && memcmp(data, "synced", 6) == 0);
  OK(mpool_mlog_close(log));
  OK(mpool_mlog_delete(mp, exchange->ids[3]));
  close_pool(mp);
}

static void be_refused(void* unused) {
  struct mpool* mp = NULL;
  (void)unused;
  FAILS(EBUSY, mpool_open(pool_name('a'), O_RDWR, &mp, NULL));
  FAILS(EBUSY, mpool_open(pool_name('a'), O_RDONLY | O_EXCL, &mp, NULL));
}

static void share_but_not_exclude(void* unused) {
  struct mpool* mp = NULL;
  (void)unused;
  FAILS(EBUSY, mpool_open(pool_name('a'), O_RDWR | O_EXCL, &mp, NULL));
  close_pool(open_pool('a', O_RDWR));
}

MOUNT_TEST(Mount, an_exclusive_open_excludes_processes) {
  struct mpool* mp;
  make_pool('a', 128, 1);
  mp = open_pool('a', O_RDWR | O_EXCL);
  EXPECT(in_process(be_refused, NULL));
  close_pool(mp);
  mp = open_pool('a', O_RDWR);
  EXPECT(in_process(share_but_not_exclude, NULL));
  FAILS(EBUSY, mpool_deactivate(pool_name('a'), 0, NULL));
  FAILS(EBUSY, mpool_destroy(pool_name('a'), 0, NULL));
  close_pool(mp);
  close_pool(open_pool('a', O_RDWR | O_EXCL));
}

/* The first object of a file. */
static uint64_t object_of(const char* path) {
  char text[100] = "";
  REQUIRE(getxattr(path, "user.mpool.objects", text, sizeof(text) - 1) > 0);
  return strtoull(text, NULL, 16);
}

MOUNT_TEST(Mount, the_tree_is_not_harmed) {
  struct mpool* const mp = new_pool();
  struct mpool_params params;
  struct mpool_mdc* mdc = NULL;
  struct mpool_mlog* log = NULL;
  struct iovec iov;
  uint64_t ids[2];
  uint64_t gen = 0;
  uint64_t file, pack;
  char path[400];
  snprintf(path, sizeof(path), "%s/small", mount_point('a'));
  REQUIRE(shell("echo content > %s && sync %s %s", path, path, mount_point('a')) == 0);
  pack = object_of(path);
  snprintf(path, sizeof(path), "%s/file", mount_point('a'));
  REQUIRE(shell("(echo content; head -c 300000 /dev/zero) > %s && sync %s %s", path, path,
                mount_point('a')) == 0);
  file = object_of(path);
  OK(mpool_mdc_get_root(mp, &ids[0], &ids[1]));
  FAILS(EMEDIUMTYPE, mpool_mdc_open(mp, ids[0], ids[1], 0, &mdc));
  FAILS(EMEDIUMTYPE, mpool_mlog_open(mp, ids[0], 0, &gen, &log));
  FAILS(EPERM, mpool_mdc_delete(mp, ids[0], ids[1]));
  FAILS(EPERM, mpool_mblock_delete(mp, file));
  FAILS(EPERM, mpool_mlog_delete(mp, pack));
  iov.iov_base = new_pages(PAGE, 1);
  iov.iov_len = PAGE;
  OK(mpool_mblock_read(mp, file, &iov, 1, 0));
  EXPECT(memcmp(iov.iov_base, "content\n", 8) == 0);
  OK(mpool_params_get(mp, &params, NULL));
  OK(mpool_params_set(mp, &params, NULL)); /* handed back unchanged */
  memset(params.mp_utype, 7, sizeof(params.mp_utype));
  FAILS(EMEDIUMTYPE, mpool_params_set(mp, &params, NULL));
  close_pool(mp);
  REQUIRE(umount_pool('a') == 0);
  EXPECT(shell("\"$MPOOL\" check %s", image_path('a', 0)) == 0);
}

MOUNT_TEST(Mount, parameters_are_changed_and_recorded) {
  struct mpool* mp = new_pool();
  struct mpool_params params;
  struct mpool_params got;
  struct mpool_devprops device;
  struct stat status;
  char path[200];
  mpool_params_init(&params);
  strcpy(params.mp_label, "Label-1.x_y");
  params.mp_gid = 18;
  params.mp_mode = 0750;
  params.mp_ra_pages_max = 99;
  params.mp_spare_cap = 7;
  OK(mpool_params_set(mp, &params, NULL));
  OK(mpool_params_get(mp, &got, NULL));
  EXPECT(strcmp(got.mp_label, "Label-1.x_y") == 0 && got.mp_gid == 18 && got.mp_mode == 0750);
  EXPECT(got.mp_ra_pages_max == 32 && got.mp_spare_cap == 7 && got.mp_vma_size_max == 30);
  EXPECT(strcmp(got.mp_name, pool_name('a')) == 0 && got.mp_stat == 1 && got.mp_mdcnum > 0);
  snprintf(path, sizeof(path), "%s/%s", MPOOL_RUNDIR_ROOT, pool_name('a'));
  REQUIRE(stat(path, &status) == 0);
  EXPECT(status.st_gid == 18 && (status.st_mode & 0777) == 0750);
  OK(mpool_dev_props_get(mp, image_path('a', 0), &device));
  EXPECT(device.pdp_mclassp == MP_MED_CAPACITY && device.pdp_status == 1);
  FAILS(ENOENT, mpool_dev_props_get(mp, "/dev/null", &device));
  strcpy(params.mp_label, "bad label");
  FAILS(EINVAL, mpool_params_set(mp, &params, NULL));
  close_pool(mp);
  restart_pool('a');
  mp = open_pool('a', O_RDWR);
  OK(mpool_params_get(mp, &params, NULL));
  EXPECT(memcmp(&params, &got, sizeof(got)) == 0);
  close_pool(mp);
}

static void work_as_owner(void* image) {
  struct mpool_params params;
  struct mpool* mp;
  uint64_t id;
  REQUIRE(setgid(65534) == 0 && setuid(65534) == 0);
  EXPECT(open(image, O_RDONLY | O_CLOEXEC) < 0); /* no right to the device */
  mp = open_pool('a', O_RDWR);
  id = new_mblock(mp, PAGE, 5);
  OK(mpool_mblock_delete(mp, id));
  mpool_params_init(&params);
  params.mp_uid = 17;
  FAILS(EPERM, mpool_params_set(mp, &params, NULL));
  close_pool(mp);
}

static void be_no_owner(void* unused) {
  struct mpool* mp = NULL;
  (void)unused;
  REQUIRE(setgid(65533) == 0 && setuid(65533) == 0);
  FAILS(EACCES, mpool_open(pool_name('a'), O_RDWR, &mp, NULL));
}

MOUNT_TEST(Mount, its_owner_needs_no_rights_to_the_device) {
  struct mpool* const mp = new_pool();
  void* const image = (void*)(uintptr_t)image_path('a', 0);
  struct mpool_params params;
  mpool_params_init(&params);
  params.mp_uid = 65534;
  params.mp_mode = 0700;
  OK(mpool_params_set(mp, &params, NULL));
  close_pool(mp);
  REQUIRE(shell("chmod 711 %s/..", mount_point('a')) == 0);
  restart_pool('a'); /* .mpool has the owner of the time of the mount */
  EXPECT(shell("chmod 700 %s && chown 65534 %s", mount_point('a'), mount_point('a')) == 0);
  EXPECT(in_process(work_as_owner, image));
  EXPECT(in_process(be_no_owner, NULL));
}

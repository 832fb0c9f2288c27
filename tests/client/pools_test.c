/* Pools: names, parameters, activation, rights, lists. */
#include <stdio.h>
#include <sys/stat.h>

#include "harness.h"

static int find_in(mpool_err_t (*list)(int*, struct mpool_params**, struct mpool_devrpt*),
                   const char* name, struct mpool_params* found) {
  struct mpool_params* vector = NULL;
  int count = -1;
  int hits = 0;
  int i;
  OK(list(&count, &vector, NULL));
  REQUIRE(count >= 0);
  for (i = 0; i < count; ++i) {
    if (strcmp(vector[i].mp_name, name) != 0) continue;
    ++hits;
    if (found != NULL) *found = vector[i];
  }
  free(vector);
  return hits;
}

static int is_active(char which) {
  return find_in(mpool_list, pool_name(which), NULL);
}

static struct mpool_params params_of(char which) {
  struct mpool* const mp = open_pool(which, O_RDWR);
  struct mpool_params params;
  OK(mpool_params_get(mp, &params, NULL));
  close_pool(mp);
  return params;
}

static struct stat run_directory(char which) {
  struct stat status;
  char path[100];
  memset(&status, 0, sizeof(status));
  snprintf(path, sizeof(path), "%s/%s", MPOOL_RUNDIR_ROOT, pool_name(which));
  if (stat(path, &status) != 0) memset(&status, 0, sizeof(status));
  return status;
}

ENGINE_TEST(Pool, parameters_not_given) {
  struct mpool_params params;
  uuid_t none;
  uuid_clear(none);
  memset(&params, 0x5a, sizeof(params));
  mpool_params_init(&params);
  EXPECT(uuid_compare(params.mp_poolid, none) == 0 && uuid_compare(params.mp_utype, none) == 0);
  EXPECT(params.mp_uid == (uid_t)-1 && params.mp_gid == (gid_t)-1);
  EXPECT(params.mp_mode == (mode_t)-1 && params.mp_stat == 0);
  EXPECT(params.mp_spare_cap == 255 && params.mp_spare_stg == 255);
  EXPECT(params.mp_mdc_captgt == 0 && params.mp_oidv[0] == 0 && params.mp_oidv[1] == 0);
  EXPECT(params.mp_ra_pages_max == 0xffffffffu && params.mp_vma_size_max == 0);
  EXPECT(params.mp_mblocksz[0] == 0 && params.mp_mblocksz[1] == 0);
  EXPECT(params.mp_mdc0cap == 0 && params.mp_mdcncap == 0 && params.mp_mdcnum == 0);
  EXPECT(params.mp_label[0] == 0 && params.mp_name[0] == 0);
}

ENGINE_TEST(Pool, is_active_once_created) {
  struct mpool_params params;
  struct mpool_params found;
  mpool_params_init(&params);
  params.mp_mblocksz[MP_MED_CAPACITY] = 1;
  OK(mpool_create(pool_name('a'), image_path('a', 128), &params, 0, NULL));
  EXPECT(params.mp_uid == 0 && params.mp_gid == 6 && params.mp_mode == 0660);
  EXPECT(params.mp_mblocksz[MP_MED_CAPACITY] == 1 && params.mp_mdc_captgt == 8388608);
  EXPECT(params.mp_oidv[0] == 0x201 && params.mp_oidv[1] == 0x1201);
  EXPECT(strcmp(params.mp_label, "raw") == 0);
  EXPECT(find_in(mpool_list, pool_name('a'), &found) == 1);
  EXPECT(find_in(mpool_scan, pool_name('a'), NULL) == 1);
  params = params_of('a');
  EXPECT(strcmp(params.mp_name, pool_name('a')) == 0);
  EXPECT(params.mp_vma_size_max == 30 && params.mp_mdc_captgt == 8388608);
  EXPECT(params.mp_mblocksz[MP_MED_CAPACITY] == 1 && params.mp_mblocksz[MP_MED_STAGING] == 0);
  EXPECT(params.mp_stat == 1 && params.mp_spare_cap == 5);
  EXPECT(memcmp(&params, &found, sizeof(params)) == 0); /* the list says the same */
  OK(mpool_destroy(pool_name('a'), 0, NULL));
  EXPECT(!is_active('a'));
  EXPECT(find_in(mpool_scan, pool_name('a'), NULL) == 0);
  FAILS(ENOENT, mpool_activate(pool_name('a'), NULL, 0, NULL));
}

ENGINE_TEST(Pool, creation_refuses) {
  struct mpool_devrpt report;
  struct mpool_params params;
  char longest[MPOOL_NAMESZ_MAX + 1];
  const char* const bad[] = {"", "-a", ".a", "a/b", "a b", "a\n"};
  size_t i;
  memset(longest, 'n', sizeof(longest) - 1);
  longest[sizeof(longest) - 1] = 0;
  for (i = 0; i < sizeof(bad) / sizeof(bad[0]); ++i) {
    FAILS(EINVAL, mpool_create(bad[i], image_path('a', 64), NULL, 0, &report));
    EXPECT(report.mdr_rcode == MPCTL_RC_ENTNAM_INV);
  }
  FAILS(ENAMETOOLONG, mpool_create(longest, image_path('a', 64), NULL, 0, &report));
  EXPECT(report.mdr_rcode == MPCTL_RC_ENTNAM_INV);
  mpool_params_init(&params);
  strcpy(params.mp_label, "a label");
  FAILS(EINVAL, mpool_create(pool_name('a'), image_path('a', 64), &params, 0, &report));
  mpool_params_init(&params);
  params.mp_mblocksz[MP_MED_CAPACITY] = 3;
  FAILS(EINVAL, mpool_create(pool_name('a'), image_path('a', 64), &params, 0, &report));
  params.mp_mblocksz[MP_MED_CAPACITY] = 128;
  FAILS(EINVAL, mpool_create(pool_name('a'), image_path('a', 64), &params, 0, &report));
  params.mp_mblocksz[MP_MED_CAPACITY] = 1;
  FAILS(ENOENT, mpool_create(pool_name('a'), "/no/such/device", &params, 0, &report));
  FAILS(ENOSPC, mpool_create(pool_name('a'), image_path('a', 2), &params, 0, &report));
  unlink(image_path('a', 0));
  make_pool('a', 128, 1);
  FAILS(EEXIST, mpool_create(pool_name('a'), image_path('b', 128), &params, 0, &report));
  EXPECT(report.mdr_rcode == MPCTL_RC_MPEXIST);
  FAILS(EBUSY, mpool_create(pool_name('b'), image_path('a', 128), &params, 0, &report));
  OK(mpool_deactivate(pool_name('a'), 0, NULL));
  FAILS(EBUSY, mpool_create(pool_name('b'), image_path('a', 128), &params, 0, &report));
  EXPECT(report.mdr_rcode == MPOOL_RC_MAGIC);
  OK(mpool_create(pool_name('b'), image_path('a', 128), &params, 1 << MP_FLAGS_FORCE, NULL));
}

static void create_and_exit(void* unused) {
  (void)unused;
  make_pool('a', 128, 1);
}

ENGINE_TEST(Pool, activation_survives_processes) {
  struct mpool* mp = NULL;
  struct mpool_devrpt report;
  EXPECT(in_process(create_and_exit, NULL));
  EXPECT(is_active('a'));
  mp = open_pool('a', O_RDWR);
  FAILS(EBUSY, mpool_deactivate(pool_name('a'), 0, NULL));
  FAILS(EBUSY, mpool_destroy(pool_name('a'), 0, NULL));
  close_pool(mp);
  OK(mpool_activate(pool_name('a'), NULL, 0, NULL)); /* it is active */
  OK(mpool_deactivate(pool_name('a'), 0, NULL));
  EXPECT(!is_active('a'));
  EXPECT(run_directory('a').st_mode == 0);
  FAILS(ENOENT, mpool_open(pool_name('a'), O_RDWR, &mp, &report));
  EXPECT(report.mdr_rcode == MPOOL_RC_OPEN);
  FAILS(ENOENT, mpool_deactivate("no-such-pool", 0, NULL));
}

ENGINE_TEST(Pool, devices_are_found_by_name_and_uuid) {
  struct mpool_devrpt report;
  struct mpool_params params;
  struct mpool_params given;
  char uuid[40];
  mpool_params_init(&params);
  params.mp_mblocksz[MP_MED_CAPACITY] = 1;
  OK(mpool_create(pool_name('a'), loop_path('a', 128), &params, 0, NULL));
  uuid_unparse(params_of('a').mp_poolid, uuid);
  FAILS(EBUSY, mpool_rename(pool_name('a'), pool_name('b'), 0, NULL));
  OK(mpool_deactivate(pool_name('a'), 0, NULL));
  FAILS(ENXIO, mpool_deactivate(pool_name('a'), 0, &report));
  EXPECT(report.mdr_rcode == MPCTL_RC_NOTACTIVATED);
  EXPECT(find_in(mpool_scan, pool_name('a'), NULL) == 1);
  EXPECT(find_in(mpool_list, pool_name('a'), NULL) == 0);
  FAILS(EINVAL, mpool_rename(pool_name('a'), "a/b", 0, NULL));
  FAILS(ENOENT, mpool_rename("no-such-pool", pool_name('b'), 0, NULL));
  OK(mpool_rename(pool_name('a'), pool_name('b'), 0, NULL));
  FAILS(ENOENT, mpool_activate(pool_name('a'), NULL, 0, &report));
  EXPECT(report.mdr_rcode == MPCTL_RC_MP_NODEV);
  OK(mpool_activate(pool_name('b'), NULL, 0, NULL));
  OK(mpool_deactivate(pool_name('b'), 0, NULL));
  mpool_params_init(&given);
  strcpy(given.mp_label, "label");
  OK(mpool_activate(uuid, &given, 0, NULL));
  EXPECT(strcmp(given.mp_label, "label") == 0 && given.mp_vma_size_max == 30);
  params = params_of('b');
  EXPECT(memcmp(&params, &given, sizeof(params)) == 0);
  OK(mpool_destroy(uuid, 0, NULL));
  FAILS(ENOENT, mpool_activate(uuid, NULL, 0, NULL));
  EXPECT(find_in(mpool_scan, pool_name('b'), NULL) == 0);
}

TEST(Pool, open_exclusively) {
  struct mpool* first = NULL;
  struct mpool* second = NULL;
  make_pool('a', 128, 1);
  first = open_pool('a', O_RDWR | O_EXCL);
  FAILS(EBUSY, mpool_open(pool_name('a'), O_RDWR, &second, NULL));
  FAILS(EBUSY, mpool_open(pool_name('a'), O_RDWR | O_EXCL, &second, NULL));
  FAILS(EBUSY, mpool_open(pool_name('a'), O_RDONLY | O_EXCL, &second, NULL));
  EXPECT(second == NULL);
  close_pool(first);
  first = open_pool('a', 0);
  second = open_pool('a', O_RDWR | O_NONBLOCK);
  EXPECT(first != second);
  {
    struct mpool* third = NULL;
    FAILS(EBUSY, mpool_open(pool_name('a'), O_RDWR | O_EXCL, &third, NULL));
  }
  EXPECT(new_mblock(first, PAGE, 1) != 0); /* flags 0: for writing */
  close_pool(first);
  FAILS(EBUSY, mpool_open(pool_name('a'), O_RDWR | O_EXCL, &first, NULL));
  close_pool(second);
  close_pool(open_pool('a', O_RDWR | O_EXCL));
}

TEST(Pool, a_map_keeps_others_from_an_exclusive_open) {
  struct mpool* mp = new_pool();
  uint64_t id = new_mblock(mp, PAGE, 1);
  struct mpool_mcache_map* map = NULL;
  OK(mpool_mcache_mmap(mp, 1, &id, MPC_VMA_COLD, &map));
  close_pool(mp);
  FAILS(EBUSY, mpool_open(pool_name('a'), O_RDWR | O_EXCL, &mp, NULL));
  FAILS(EBUSY, mpool_deactivate(pool_name('a'), 0, NULL));
  EXPECT(has_pages(mpool_mcache_getbase(map, 0), PAGE, 1));
  OK(mpool_mcache_munmap(map));
  close_pool(open_pool('a', O_RDWR | O_EXCL));
}

static void open_as_another(void* unused) {
  struct mpool* mp = NULL;
  (void)unused;
  REQUIRE(setgid(65534) == 0 && setuid(65534) == 0);
  FAILS(EACCES, mpool_open(pool_name('a'), O_RDWR, &mp, NULL));
}

TEST(Pool, open_with_the_rights_of_its_owner) {
  make_pool('a', 128, 1);
  EXPECT(in_process(open_as_another, NULL));
}

ENGINE_TEST(Pool, parameters_are_changed) {
  struct mpool* mp = new_pool();
  struct mpool_params params;
  struct mpool_params got;
  OK(mpool_params_get(mp, &params, NULL));
  OK(mpool_params_set(mp, &params, NULL)); /* handed back unchanged */
  memset(params.mp_utype, 7, sizeof(params.mp_utype));
  OK(mpool_params_set(mp, &params, NULL));
  OK(mpool_params_get(mp, &got, NULL));
  EXPECT(memcmp(&params, &got, sizeof(got)) == 0);
  mpool_params_init(&params);
  OK(mpool_params_set(mp, &params, NULL));
  strcpy(params.mp_label, "Label-1.x_y");
  params.mp_uid = 17;
  params.mp_gid = 18;
  params.mp_mode = 0100640;
  params.mp_ra_pages_max = 99;
  params.mp_spare_cap = 7;
  params.mp_spare_stg = 9; /* there is none */
  params.mp_vma_size_max = 20;
  OK(mpool_params_set(mp, &params, NULL));
  OK(mpool_params_get(mp, &got, NULL));
  EXPECT(strcmp(got.mp_label, "Label-1.x_y") == 0);
  EXPECT(got.mp_uid == 17 && got.mp_gid == 18 && got.mp_mode == 0640);
  EXPECT(got.mp_ra_pages_max == 32 && got.mp_spare_cap == 7 && got.mp_vma_size_max == 30);
  EXPECT(got.mp_utype[0] == 7);
  EXPECT(run_directory('a').st_uid == 17 && run_directory('a').st_gid == 18);
  EXPECT((run_directory('a').st_mode & 0777) == 0750);
  strcpy(params.mp_label, "bad label");
  FAILS(EINVAL, mpool_params_set(mp, &params, NULL));
  close_pool(mp);
  OK(mpool_deactivate(pool_name('a'), 0, NULL));
}

ENGINE_TEST(Pool, run_directory_goes_with_what_is_in_it) {
  make_pool('a', 128, 1);
  EXPECT(S_ISDIR(run_directory('a').st_mode));
  EXPECT((run_directory('a').st_mode & 0777) == 0770 && run_directory('a').st_gid == 6);
  EXPECT(shell("touch %s/%s/%s.sock", MPOOL_RUNDIR_ROOT, pool_name('a'), pool_name('a')) == 0);
  OK(mpool_deactivate(pool_name('a'), 0, NULL));
  EXPECT(run_directory('a').st_mode == 0);
}

ENGINE_TEST(Pool, gets_a_staging_class) {
  struct mpool* mp = new_pool();
  struct mpool_params params;
  struct mpool_mclass_props props;
  struct mpool_devprops device;
  uint64_t id = 0;
  FAILS(ENOENT, mpool_mclass_get(mp, MP_MED_STAGING, &props));
  mpool_params_init(&params);
  params.mp_mblocksz[MP_MED_STAGING] = 2;
  FAILS(EBUSY,
        mpool_mclass_add(pool_name('a'), image_path('b', 128), MP_MED_STAGING, &params, 0, NULL));
  close_pool(mp);
  FAILS(EEXIST,
        mpool_mclass_add(pool_name('a'), image_path('b', 128), MP_MED_CAPACITY, &params, 0, NULL));
  OK(mpool_mclass_add(pool_name('a'), image_path('b', 128), MP_MED_STAGING, &params, 0, NULL));
  FAILS(EEXIST,
        mpool_mclass_add(pool_name('a'), image_path('c', 128), MP_MED_STAGING, &params, 0, NULL));
  mp = open_pool('a', O_RDWR);
  OK(mpool_mclass_get(mp, MP_MED_STAGING, &props));
  EXPECT(props.mc_mblocksz == 2 && props.mc_total == props.mc_usable + props.mc_spare);
  OK(mpool_dev_props_get(mp, image_path('b', 0), &device));
  EXPECT(device.pdp_mclassp == MP_MED_STAGING && device.pdp_status == 1);
  FAILS(ENOENT, mpool_dev_props_get(mp, image_path('c', 128), &device));
  OK(mpool_mblock_alloc(mp, MP_MED_STAGING, false, &id, NULL));
  OK(mpool_mblock_commit(mp, id));
  close_pool(mp);
  EXPECT(params_of('a').mp_mblocksz[MP_MED_STAGING] == 2);
}

TEST(Pool, says_how_much_is_used) {
  struct mpool* const mp = new_pool();
  struct mpool_usage before;
  struct mpool_usage after;
  struct mpool_mclass_props props;
  OK(mpool_usage_get(mp, &before));
  EXPECT(before.mpu_total >= 250 * MIB && before.mpu_usable + before.mpu_spare <= before.mpu_total);
  new_mblock(mp, 3 * PAGE, 1);
  new_mlog(mp, 2 * MIB);
  OK(mpool_usage_get(mp, &after));
  EXPECT(after.mpu_mblock_cnt == before.mpu_mblock_cnt + 1);
  EXPECT(after.mpu_mlog_cnt == before.mpu_mlog_cnt + 1);
  EXPECT(after.mpu_mblock_alen == before.mpu_mblock_alen + MIB);
  EXPECT(after.mpu_mblock_wlen == before.mpu_mblock_wlen + 3 * PAGE);
  EXPECT(after.mpu_mlog_alen == before.mpu_mlog_alen + 2 * MIB);
  EXPECT(after.mpu_alen == after.mpu_mblock_alen + after.mpu_mlog_alen);
  EXPECT(after.mpu_wlen == after.mpu_mblock_wlen + after.mpu_mlog_alen);
  EXPECT(after.mpu_used == before.mpu_used + 3 * MIB);
  EXPECT(after.mpu_fusable == before.mpu_fusable - 3 * MIB);
  OK(mpool_mclass_get(mp, MP_MED_CAPACITY, &props));
  EXPECT(props.mc_mblocksz == 1 && props.mc_used == after.mpu_used);
  EXPECT(props.mc_total == props.mc_usable + props.mc_spare);
  close_pool(mp);
}

TEST(Pool, close_waits_for_no_open_log) {
  struct mpool* const mp = new_pool();
  struct mpool_mlog* log = NULL;
  uint64_t gen = 0;
  const uint64_t id = new_mlog(mp, MIB);
  OK(mpool_mlog_open(mp, id, 0, &gen, &log));
  FAILS(EBUSY, mpool_close(mp));
  OK(append(log, "still works", 11, 1));
  OK(mpool_mlog_close(log));
  close_pool(mp);
}

ENGINE_TEST(Pool, descriptors_are_closed_by_exec) {
  struct mpool* const mp = new_pool();
  EXPECT(shell("ls -l /proc/self/fd | grep -q image-") != 0);
  close_pool(mp);
}

/* A pool: its parameters, its space, and the list of active pools. */
#include "sample.h"

int main(int argc, char** argv) {
  struct mpool* mp = make_pool(argc, argv);
  struct mpool_params params;
  struct mpool_params* active;
  struct mpool_usage usage;
  int count;

  check(mpool_params_get(mp, &params, NULL), "params_get");
  strcpy(params.mp_label, "sample");
  check(mpool_params_set(mp, &params, NULL), "params_set");
  check(mpool_usage_get(mp, &usage), "usage_get");
  printf("%s: mblocks of %u MiB, %lu of %lu MiB free\n", params.mp_name,
         params.mp_mblocksz[MP_MED_CAPACITY], (unsigned long)(usage.mpu_fusable >> 20),
         (unsigned long)(usage.mpu_total >> 20));
  check(mpool_list(&count, &active, NULL), "list");
  for (int i = 0; i < count; i++)
    printf("active: %s, label %s\n", active[i].mp_name, active[i].mp_label);
  free(active);
  return end_pool(mp, argv);
}

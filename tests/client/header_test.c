/* The header alone, as the first of a C file. */
#include <mpool/mpool.h>
#include <mpool/mpool_devrpt.h>
#include <mpool/mpool_ioctl.h>
#define LAYOUT_ASSERT(condition) _Static_assert(condition, #condition)
#include "harness.h"
#include "layout.h"

TEST(Header, texts) {
  struct iovec iov = {NULL, 9};
  uuid_t uuid;
  uuid_clear(uuid);
  EXPECT(layout_declared(&iov, uuid) == 17);
  EXPECT(strcmp(MPOOL_RUNDIR_ROOT, "/var/run/mpool") == 0);
  EXPECT(strcmp(MPOOL_LABEL_INVALID, "") == 0);
  EXPECT(strcmp(MPOOL_LABEL_DEFAULT, "raw") == 0);
  EXPECT(strcmp(MPC_DEV_SUBDIR, "mpool") == 0);
  EXPECT(strcmp(MPC_DEV_CTLNAME, "mpoolctl") == 0);
  EXPECT(strcmp(MPC_DEV_CTLPATH, "/dev/mpoolctl") == 0);
}

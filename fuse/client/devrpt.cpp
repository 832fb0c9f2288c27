// Reports about devices, names and pools.
#include <cstdarg>
#include <cstdio>

#include "fuse/client/api.h"

void mpool_devrpt_init(struct mpool_devrpt* report) {
  if (report != nullptr) *report = {.mdr_rcode = MPOOL_RC_NONE, .mdr_off = -1, .mdr_msg = {}};
}

void mpool_devrpt(struct mpool_devrpt* report, enum mpool_rc rcode, int off, const char* fmt, ...) {
  if (report == nullptr) return;
  mpool_devrpt_init(report);
  report->mdr_rcode = rcode;
  report->mdr_off = off;
  if (fmt == nullptr) return;
  va_list arguments;
  va_start(arguments, fmt);
  std::vsnprintf(report->mdr_msg, sizeof report->mdr_msg, fmt, arguments);
  va_end(arguments);
}

const char* mpool_devrpt_strerror(enum mpool_rc rcode) {
  switch (rcode) {
    case MPOOL_RC_NONE:
      return "success";
    case MPOOL_RC_ERRMSG:
      return "error";
    case MPOOL_RC_OPEN:
      return "cannot be opened";
    case MPOOL_RC_PARM:
      return "parameters cannot be had, or are wrong";
    case MPOOL_RC_MAGIC:
      return "the device has a pool on it";
    case MPOOL_RC_STAT:
      return "not in a state for that";
    case MPOOL_RC_ENOMEM:
      return "out of memory";
    case MPCTL_RC_DEVRW:
      return "cannot be read or written";
    case MPCTL_RC_NOTACTIVATED:
      return "the pool is not active";
    case MPCTL_RC_DEVACTIVATED:
      return "the device belongs to an active pool";
    case MPCTL_RC_MP_NODEV:
      return "no such pool";
    case MPCTL_RC_INVALDEV:
      return "not a device for a pool";
    case MPCTL_RC_MPEXIST:
      return "a pool of that name exists";
    case MPCTL_RC_ENTNAM_INV:
      return "not a valid name or label";
  }
  return "unknown";
}

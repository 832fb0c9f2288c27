/*
 * Types and constants of <mpool/mpool.h>, which includes this file. Reserved fields are zero on
 * output and ignored on input.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/param.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <uuid/uuid.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mpool;
struct mpool_mdc;
struct mpool_mcache_map;
struct mpool_mlog;

typedef uuid_t uuid_le;

/* An active pool NAME has the directory MPOOL_RUNDIR_ROOT/NAME. */
#define MPOOL_RUNDIR_ROOT "/var/run/mpool"

#define MPOOL_NAMESZ_MAX 32  /* with the NUL */
#define MPOOL_LABELSZ_MAX 64 /* with the NUL */
#define PD_NAMESZ_MAX 32
#define PD_DEV_ID_LEN 64

#define MPC_DEV_SUBDIR "mpool"
#define MPC_DEV_CTLNAME "mpoolctl"
#define MPC_DEV_CTLPATH "/dev/mpoolctl"

#define MPOOL_LABEL_INVALID ""
#define MPOOL_LABEL_DEFAULT "raw"
#define MPOOL_RA_PAGES_INVALID 0xffffffffu
#define MPOOL_RA_PAGES_MAX 32 /* pages: 128 KiB */
#define MPOOL_SPARES_INVALID 255
#define MPOOL_SPARES_DEFAULT 5 /* percent */
#define MPOOL_ROOT_LOG_CAP (8 * 1024 * 1024)
#define MPOOL_MBSIZE_MB_DEFAULT 32
#define MPOOL_MDCNUM_DEFAULT 16

/* Numbers of bits: flags = 1 << MP_FLAGS_FORCE. */
enum mp_mgmt_flags {
  MP_FLAGS_FORCE = 0,
  MP_FLAGS_PERMIT_META_CONV = 1,
  MP_FLAGS_RESIZE = 2,
};

/* Media classes. Every pool has a capacity class; a staging class is optional. */
enum mp_media_classp {
  MP_MED_STAGING = 0,
  MP_MED_CAPACITY = 1,
};
#define MP_MED_BASE MP_MED_STAGING
#define MP_MED_NUMBER (MP_MED_CAPACITY + 1)
#define MP_MED_INVALID 255
#define MPOOL_MCLASS_INVALID MP_MED_INVALID
#define MPOOL_MCLASS_DEFAULT MP_MED_CAPACITY

/* Parameters of a pool. "Not given": the value that mpool_params_init() sets. */
struct mpool_params {   /* 248 bytes */
  uuid_le mp_poolid;    /* UUID of the pool */
  uid_t mp_uid;         /* owner; not given: -1 */
  gid_t mp_gid;         /* group; not given: -1 */
  mode_t mp_mode;       /* permission bits (0777); not given: -1 */
  uint8_t mp_stat;      /* 0 undefined, 1 optimal, 2 a device is missing or offline */
  uint8_t mp_spare_cap; /* percent of zones kept as spares; not given: 255 */
  uint8_t mp_spare_stg; /* the same of staging */
  uint8_t mp_rsvd0;
  uint64_t mp_mdc_captgt;              /* capacity of each log of the root MDC */
  uint64_t mp_oidv[2];                 /* ids of the root MDC's two logs */
  uint32_t mp_ra_pages_max;            /* greatest readahead of maps: 0..32 pages; not given: ~0 */
  uint32_t mp_vma_size_max;            /* log2 of the greatest size of a map: 30 */
  uint32_t mp_mblocksz[MP_MED_NUMBER]; /* MiB: zone size of each class; 0: absent, or not given */
  uint16_t mp_mdc0cap;                 /* MiB: capacity of each log of MDC0; 0: not given */
  uint16_t mp_mdcncap;                 /* MiB: the same of MDC1..N */
  uint16_t mp_mdcnum;                  /* number of MDCs; 0: not given */
  uint16_t mp_rsvd1;
  uint32_t mp_rsvd2;
  uint64_t mp_rsvd3;
  uint64_t mp_rsvd4;
  uuid_le mp_utype;                   /* UUID free for programs; zeros: none, or not given */
  char mp_label[MPOOL_LABELSZ_MAX];   /* at most 63 bytes; "": not given */
  char mp_name[MPOOL_NAMESZ_MAX * 2]; /* at most 31 bytes */
};

struct mpool_devprops { /* 88 bytes */
  uuid_le pdp_devid;
  uint8_t pdp_mclassp;
  uint8_t pdp_status; /* 1 online, 2 suspect, 3 offline, 4 missing */
  uint8_t pdp_rsvd1[6];
  uint64_t pdp_total; /* as the values of mpool_usage, of one device */
  uint64_t pdp_avail;
  uint64_t pdp_spare;
  uint64_t pdp_fspare;
  uint64_t pdp_usable;
  uint64_t pdp_fusable;
  uint64_t pdp_used;
  uint64_t pdp_rsvd2;
};

/* Sums over both classes. */
struct mpool_usage {    /* 96 bytes */
  uint64_t mpu_total;   /* all zones */
  uint64_t mpu_usable;  /* usable + spare: all zones but bad ones */
  uint64_t mpu_fusable; /* free of the usable ones */
  uint64_t mpu_used;    /* allocated; may exceed usable */
  uint64_t mpu_spare;
  uint64_t mpu_fspare; /* free of the spare ones */
  uint64_t mpu_alen;   /* capacity of committed objects */
  uint64_t mpu_wlen;   /* written to mblocks, and capacity of mlogs */
  uint64_t mpu_mblock_alen;
  uint64_t mpu_mblock_wlen;
  uint64_t mpu_mlog_alen;
  uint32_t mpu_mblock_cnt;
  uint32_t mpu_mlog_cnt;
};

struct mpool_mclass_xprops { /* 128 bytes; of no call */
  uint8_t mc_devtype;
  uint8_t mc_mclass;
  uint8_t mc_sectorsz; /* log2 */
  uint8_t mc_rsvd1;
  uint32_t mc_spare; /* percent */
  uint16_t mc_uacnt;
  uint16_t mc_rsvd2;
  uint32_t mc_zonepg; /* pages per zone */
  uint64_t mc_features;
  uint64_t mc_rsvd3;
  struct mpool_usage mc_usage;
};

struct mpool_mclass_props { /* 48 bytes */
  uint32_t mc_mblocksz;     /* MiB */
  uint32_t mc_rsvd;
  uint64_t mc_total; /* mc_usable + mc_spare */
  uint64_t mc_usable;
  uint64_t mc_used; /* allocated of the usable space */
  uint64_t mc_spare;
  uint64_t mc_spare_used; /* allocated of the spare space */
};

struct mpool_xprops { /* 328 bytes; of no call */
  struct mpool_params ppx_params;
  uint8_t ppx_rsvd[MP_MED_NUMBER];
  uint8_t ppx_drive_spares[MP_MED_NUMBER];
  uint16_t ppx_uacnt[MP_MED_NUMBER];
  uint32_t ppx_pd_mclassv[MP_MED_NUMBER];
  char ppx_pd_namev[MP_MED_NUMBER][PD_NAMESZ_MAX];
};

struct mblock_props { /* 40 bytes */
  uint64_t mpr_objid;
  uint32_t mpr_alloc_cap;    /* the zone size */
  uint32_t mpr_write_len;    /* whole pages */
  uint32_t mpr_optimal_wrsz; /* 4 KiB..128 KiB: writes of a multiple of it are fastest */
  uint32_t mpr_mclassp;
  uint8_t mpr_iscommitted; /* 0, 1 */
  uint8_t mpr_rsvd1[7];
  uint64_t mpr_rsvd2;
};

struct mblock_props_ex {
  struct mblock_props mbx_props;
  uint8_t mbx_zonecnt; /* 1 */
  uint8_t mbx_rsvd1[7];
  uint64_t mbx_rsvd2;
};

enum mlog_open_flags {
  MLOG_OF_COMPACT_SEM = 0x1, /* a log of an MDC: begins with the marker of a compaction */
  MLOG_OF_SKIP_SER = 0x2,    /* the caller serialises appends and reads */
};

struct mlog_capacity { /* 16 bytes */
  uint64_t lcp_captgt; /* rounded up to whole zones; 0: one zone */
  uint8_t lcp_spare;   /* not 0: spares may be used, and are first */
  uint8_t lcp_rsvd1[7];
};

struct mlog_props { /* 56 bytes */
  uuid_le lpr_uuid;
  uint64_t lpr_objid;
  uint64_t lpr_alloc_cap;
  uint64_t lpr_gen;
  uint8_t lpr_mclassp;
  uint8_t lpr_iscommitted;
  uint8_t lpr_rsvd1[6];
  uint64_t lpr_rsvd2;
};

struct mlog_props_ex {
  struct mlog_props lpx_props;
  uint32_t lpx_totsec;
  uint32_t lpx_zonecnt;
  uint8_t lpx_state;
  uint8_t lpx_secshift;
  uint8_t lpx_rsvd1[6];
  uint64_t lpx_rsvd2;
};

enum mdc_open_flags {
  MDC_OF_SKIP_SER = 0x1,
};

struct mdc_capacity {  /* 16 bytes */
  uint64_t mdt_captgt; /* of each of the two logs */
  bool mdt_spare;
};

struct mdc_props { /* 32 bytes */
  uint64_t mdc_objid1;
  uint64_t mdc_objid2;
  uint64_t mdc_alloc_cap;
  enum mp_media_classp mdc_mclassp;
};

/* How long the pages of a map are worth keeping; a hint. */
enum mpc_vma_advice {
  MPC_VMA_COLD = 0,
  MPC_VMA_WARM = 1,
  MPC_VMA_HOT = 2,
  MPC_VMA_PINNED = 3,
};

struct pd_znparam {
  uint32_t dvb_zonepg;
  uint32_t dvb_zonetot;
  uint64_t dvb_rsvd1;
};

struct pd_prop { /* 128 bytes; of no call */
  char pdp_didstr[PD_DEV_ID_LEN];
  uint8_t pdp_devtype;
  uint8_t pdp_devstate;
  uint8_t pdp_phys_if;
  uint8_t pdp_mclassp;
  bool pdp_fua;
  uint64_t pdp_cmdopt;
  struct pd_znparam pdp_zparam;
  uint32_t pdp_discard_granularity;
  uint32_t pdp_sectorsz;
  uint32_t pdp_optiosz;
  uint32_t pdp_rsvd2;
  uint64_t pdp_devsz;
  uint64_t pdp_rsvd3;
};

/* --- reports about devices ---
 * Calls with a report accept NULL. They first set it to {NONE, -1, ""}, and when they fail because
 * of a device, a name or a pool, to a code, and its path or name. */

#define MPOOL_DEVRPT_SZ 120

enum mpool_rc {
  MPOOL_RC_NONE = 0,
  MPOOL_RC_ERRMSG = 1, /* mdr_msg is the whole message */
  MPOOL_RC_OPEN = 2,   /* cannot be opened */
  MPOOL_RC_PARM = 3,   /* parameters cannot be had, or are wrong */
  MPOOL_RC_MAGIC = 4,  /* the device has a pool on it */
  MPOOL_RC_STAT = 5,   /* not in a state for that */
  MPOOL_RC_ENOMEM = 6,
  MPCTL_RC_DEVRW = 1001, /* cannot be read or written */
  MPCTL_RC_NOTACTIVATED = 1002,
  MPCTL_RC_DEVACTIVATED = 1003, /* device of an active pool */
  MPCTL_RC_MP_NODEV = 1004,     /* no such pool */
  MPCTL_RC_INVALDEV = 1005,
  MPCTL_RC_MPEXIST = 1006,
  MPCTL_RC_ENTNAM_INV = 1007, /* bad name or label */
};

struct mpool_devrpt {            /* 128 bytes */
  uint32_t mdr_rcode;            /* enum mpool_rc */
  int32_t mdr_off;               /* which device of those given; -1: none */
  char mdr_msg[MPOOL_DEVRPT_SZ]; /* NUL-terminated */
};

#ifdef __cplusplus
}
#endif

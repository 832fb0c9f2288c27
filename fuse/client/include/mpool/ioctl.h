/* Objects of a mounted pool: the ioctls of the file .mpool/ctl of a mount (mpoolfs(8), "OBJECTS").
 *
 * The interface has a version; structures have the sizes below, which are part of the numbers of
 * the calls. Reserved fields and unknown flags must be zero (EINVAL). Fields marked "out" are
 * results and are ignored on input. Sizes, offsets and lengths are in bytes.
 *
 * A descriptor of .mpool/ctl is a session. What it allocated and did not commit is aborted, and
 * what it opened is closed, when its last duplicate is closed, also by the end of its process.
 * Sessions may be used by several threads at a time.
 *
 * Larger data does not go through ioctls:
 *  - An uncommitted mblock is written through one descriptor of .mpool/mblock/OBJID, at its end, in
 *    whole pages (a page that is not complete is not stored); a committed one is read there.
 *    It is not deleted while a descriptor reads it, unless that was opened with O_DIRECT: then it
 *    must be pinned, or reads may fail with ESTALE, and accesses to mapped memory with SIGBUS.
 *  - Each session has a buffer of at most MPOOL_IOC_BUFFER bytes, made of what was written to the
 *    descriptor by pwrite(2), at that offset. Appends with MPOOL_IOC_IN_BUFFER take a record from
 *    it, reads with this flag put one there, for pread(2).
 *
 * Errors besides those named: EACCES and EPERM the caller may not, EROFS the mount is read-only,
 * EIO a device failed, ENOSPC, ENOMEM, ENOTTY an unknown call. EPERM: the object belongs to the
 * named tree, which only the mount changes. ENOENT: no such object. EBUSY: the object is in use, or
 * its file was closed a moment ago.
 */
#ifndef MPOOL_IOCTL_H
#define MPOOL_IOCTL_H

#include <stdint.h>
#include <sys/ioctl.h>

/* 2: with the calls from MPOOL_IOC_POOL on. */
#define MPOOL_IOC_VERSION_NUMBER 2
#define MPOOL_IOC_BUFFER (64u << 20)

/* mpool_ioc_alloc.type, mpool_ioc_properties.type */
#define MPOOL_IOC_MBLOCK 1
#define MPOOL_IOC_MLOG 2
/* .media_class */
#define MPOOL_IOC_STAGING 0
#define MPOOL_IOC_CAPACITY 1

struct mpool_ioc_version {
  uint32_t version;     /* out: MPOOL_IOC_VERSION_NUMBER */
  uint32_t page_size;   /* out */
  uint64_t buffer_size; /* out: of a session */
  uint64_t reserved[6];
};

#define MPOOL_IOC_SPARE 1 /* spare zones first, then usable ones; else usable ones only */

struct mpool_ioc_alloc {
  uint32_t type;
  uint32_t media_class;
  uint32_t flags; /* MPOOL_IOC_SPARE */
  uint32_t reserved0;
  uint64_t capacity; /* of an mlog, rounded up to zones, 0: one zone; of an mblock 0 */
  uint64_t objid;    /* out */
  uint64_t reserved[4];
};

struct mpool_ioc_object {
  uint64_t objid;
  uint64_t reserved[3];
};

#define MPOOL_IOC_COMMITTED 1
#define MPOOL_IOC_OF_TREE 2 /* belongs to the named tree: can be read, not changed */

struct mpool_ioc_properties {
  uint64_t objid;
  uint64_t capacity;    /* out */
  uint64_t written;     /* out; of an mlog 0 */
  uint64_t generation;  /* out; of an mblock 0 */
  uint8_t uuid[16];     /* out; of an mblock 0 */
  uint32_t type;        /* out */
  uint32_t media_class; /* out */
  uint32_t flags;       /* out */
  uint32_t reserved0;
  uint64_t reserved[4];
};

#define MPOOL_IOC_COMPACTION 1 /* with compaction semantics; of a single log */
#define MPOOL_IOC_SERIALISED 2 /* the caller serialises; of a single log, only compared */

struct mpool_ioc_open {
  uint64_t objid[2]; /* a committed mlog and 0, or both logs of an MDC */
  uint32_t flags;
  uint32_t handle;     /* out: not 0 */
  uint64_t generation; /* out; of an MDC 0 */
  uint64_t reserved[4];
};

struct mpool_ioc_handle {
  uint32_t handle;
  uint32_t reserved0;
  uint64_t value; /* ERASE: the least generation; LENGTH: out; otherwise 0 */
  uint64_t reserved[2];
};

#define MPOOL_IOC_IN_BUFFER 1
#define MPOOL_IOC_SYNC_RECORD 2 /* of an append: durable on return, with everything before */
#define MPOOL_IOC_APPEND_INLINE 480
#define MPOOL_IOC_READ_INLINE 464

struct mpool_ioc_append {
  uint32_t handle;
  uint32_t flags;
  uint64_t offset; /* in the buffer; else 0 */
  uint64_t length; /* of the record; without IN_BUFFER at most MPOOL_IOC_APPEND_INLINE */
  uint64_t reserved;
  uint8_t data[MPOOL_IOC_APPEND_INLINE];
};

struct mpool_ioc_read {
  uint32_t handle;
  uint32_t flags;  /* MPOOL_IOC_IN_BUFFER */
  uint64_t skip;   /* of a log: not 0: first pass over one record, of this length; of an MDC 0 */
  uint64_t offset; /* in the buffer; else 0 */
  uint64_t size;   /* room; 0 with skip: nothing is read; at most MPOOL_IOC_READ_INLINE inline */
  uint64_t length; /* out: of the record, 0 at the end */
  uint32_t error;  /* out: 0; EOVERFLOW: size or skip is less than length, the position stays;
                      ERANGE: the record to pass over is shorter, or there is none */
  uint32_t reserved0;
  uint8_t data[MPOOL_IOC_READ_INLINE]; /* out */
};

/* A media class; with zone_size 0 it is absent, or its device is missing. */
struct mpool_ioc_class {
  uint64_t zone_size; /* of the class, as all of these in bytes */
  uint64_t total;
  uint64_t usable;
  uint64_t spare;
  uint64_t free_usable;
  uint64_t free_spare;
  uint64_t used;
  uint8_t uuid[16]; /* of the device */
  uint32_t spare_percent;
  uint32_t online;     /* 0: a write failed, the device is read-only from then on */
  uint32_t write_size; /* optimal for writes of mblocks */
  uint32_t reserved0;
  uint64_t reserved[4];
  char device[1024]; /* path, cut; NUL-terminated */
};

#define MPOOL_IOC_HOLDS_TREE 1 /* the root MDC holds a named tree, or will */

struct mpool_ioc_pool {
  uint8_t uuid[16];
  uint8_t user_type[16];
  uint32_t uid;
  uint32_t gid;
  uint32_t mode;      /* permission bits */
  uint32_t readahead; /* greatest of maps, in pages */
  uint32_t flags;     /* MPOOL_IOC_HOLDS_TREE */
  uint32_t mdc_count; /* without MDC0 */
  uint64_t mdc0_capacity;
  uint64_t mdc_capacity;
  char name[64]; /* NUL-terminated, as the label */
  char label[64];
  uint64_t reserved[4];
  struct mpool_ioc_class classes[2]; /* by MPOOL_IOC_STAGING, MPOOL_IOC_CAPACITY */
};

/* Sums over all committed objects. */
struct mpool_ioc_usage {
  uint64_t mblock_count;
  uint64_t mblock_capacity;
  uint64_t mblock_written;
  uint64_t mlog_count;
  uint64_t mlog_capacity;
  uint64_t reserved[3];
};

/* mpool_ioc_settings.given: which of the fields are to be changed; the others must be zero. */
#define MPOOL_IOC_SET_UID 1
#define MPOOL_IOC_SET_GID 2
#define MPOOL_IOC_SET_MODE 4
#define MPOOL_IOC_SET_LABEL 8
#define MPOOL_IOC_SET_USER_TYPE 16
#define MPOOL_IOC_SET_READAHEAD 32
#define MPOOL_IOC_SET_SPARE_STAGING 64 /* of an absent class: ignored */
#define MPOOL_IOC_SET_SPARE_CAPACITY 128

struct mpool_ioc_settings {
  uint32_t given;
  uint32_t uid;
  uint32_t gid;
  uint32_t mode;
  uint32_t readahead;
  uint32_t spare_percent[2]; /* as mpool_ioc_pool.classes */
  uint32_t reserved0;
  uint8_t user_type[16];
  char label[64]; /* NUL-terminated */
  uint64_t reserved[4];
};

/* mpool_ioc_use.mode */
#define MPOOL_IOC_UNUSED 0
#define MPOOL_IOC_SHARED 1
#define MPOOL_IOC_EXCLUSIVE 2

struct mpool_ioc_use {
  uint32_t mode;
  uint32_t reserved0;
  uint64_t reserved[3];
};

#define MPOOL_IOC_PINS 64

struct mpool_ioc_pin {
  uint32_t count;  /* 1..MPOOL_IOC_PINS; the further elements are zero */
  uint32_t handle; /* out: not 0 */
  uint64_t reserved[3];
  uint64_t objid[MPOOL_IOC_PINS];   /* committed mblocks; one may be there several times */
  uint64_t written[MPOOL_IOC_PINS]; /* out */
};

#define MPOOL_IOC_VERSION _IOR('m', 0x80, struct mpool_ioc_version)
#define MPOOL_IOC_ALLOC _IOWR('m', 0x81, struct mpool_ioc_alloc)
/* Durable on return. Only what this session allocated. */
#define MPOOL_IOC_COMMIT _IOW('m', 0x82, struct mpool_ioc_object)
#define MPOOL_IOC_ABORT _IOW('m', 0x83, struct mpool_ioc_object)
/* Of a committed object; durable on return. */
#define MPOOL_IOC_DELETE _IOW('m', 0x84, struct mpool_ioc_object)
#define MPOOL_IOC_PROPERTIES _IOWR('m', 0x85, struct mpool_ioc_properties)
/* A log or MDC that is open already is opened once more: all share one position of reading. */
#define MPOOL_IOC_OPEN _IOWR('m', 0x86, struct mpool_ioc_open)
/* All appended records are durable on return. */
#define MPOOL_IOC_CLOSE _IOW('m', 0x87, struct mpool_ioc_handle)
/* EFBIG: no room. */
#define MPOOL_IOC_APPEND _IOW('m', 0x88, struct mpool_ioc_append)
#define MPOOL_IOC_READ _IOWR('m', 0x89, struct mpool_ioc_read)
#define MPOOL_IOC_REWIND _IOW('m', 0x8a, struct mpool_ioc_handle)
#define MPOOL_IOC_SYNC _IOW('m', 0x8b, struct mpool_ioc_handle)
/* The bytes used, block headers included. */
#define MPOOL_IOC_LENGTH _IOWR('m', 0x8c, struct mpool_ioc_handle)
/* Of a log. value, out: its generation. */
#define MPOOL_IOC_ERASE _IOWR('m', 0x8d, struct mpool_ioc_handle)
/* Of an MDC: a compaction, between the appends of the remaining records. Until it ends, other
   handles of the MDC get EBUSY. If the handle or its session ends before, they get EINVAL and can
   only be closed. */
#define MPOOL_IOC_CSTART _IOW('m', 0x8e, struct mpool_ioc_handle)
#define MPOOL_IOC_CEND _IOW('m', 0x8f, struct mpool_ioc_handle)
#define MPOOL_IOC_POOL _IOR('m', 0x90, struct mpool_ioc_pool)
#define MPOOL_IOC_USAGE _IOR('m', 0x91, struct mpool_ioc_usage)
/* Durable on return. EPERM: only root may give the pool away, only its owner and root change group
   and mode. EMEDIUMTYPE: the user type of a pool that holds a named tree. */
#define MPOOL_IOC_SETTINGS _IOW('m', 0x92, struct mpool_ioc_settings)
/* Whether this session uses the pool, and excludes others that say so. EBUSY: another one is
   exclusive, or this one would be and is not alone. Nothing else depends on it. */
#define MPOOL_IOC_USE _IOW('m', 0x93, struct mpool_ioc_use)
/* None of the mblocks can be deleted until the handle is closed (MPOOL_IOC_CLOSE). */
#define MPOOL_IOC_PIN _IOWR('m', 0x94, struct mpool_ioc_pin)

/* Maps: committed mblocks as one read-only file, .mpool/map/NAME (mpoolfs(8), "MAPS"). Member i
 * begins at byte i * stride; behind what is written of it there are zeros. unlink(2) of the file
 * ends the map, when its last user has closed and unmapped it; all end with the mount. Until then
 * the members are not deleted.
 */
#define MPOOL_IOC_MAP_NAME 64 /* with the zero at its end; at least one byte before it */

/* mpool_ioc_member.kind */
#define MPOOL_IOC_MEMBER_MBLOCK 0 /* id: of an mblock */
#define MPOOL_IOC_MEMBER_FILE 1   /* id: st_ino of a committed file: each of its mblocks */

struct mpool_ioc_member {
  uint64_t id;
  uint32_t kind;
  uint32_t reserved;
};

/* How long unused pages stay: the time to live times 1, 10, 100, or for ever. */
#define MPOOL_IOC_COLD 0
#define MPOOL_IOC_WARM 1
#define MPOOL_IOC_HOT 2
#define MPOOL_IOC_PINNED 3

#define MPOOL_IOC_MAP_OF_SESSION 1 /* the end of the session removes its name */

struct mpool_ioc_map_create {
  char name[MPOOL_IOC_MAP_NAME];
  uint64_t offset; /* in the buffer, of the array of mpool_ioc_member */
  uint32_t count;  /* of its elements */
  uint32_t flags;  /* MPOOL_IOC_MAP_OF_SESSION */
  uint32_t advice;
  uint32_t members; /* out: mblocks */
  uint64_t stride;  /* out */
  uint64_t reserved[4];
};

#define MPOOL_IOC_MAP_NATIVE 1 /* the kernel reads it by itself; else the daemon serves it */

struct mpool_ioc_map {
  char name[MPOOL_IOC_MAP_NAME];
  uint64_t stride;   /* out */
  uint64_t written;  /* out: sum of the members' content */
  uint64_t resident; /* out: pages in memory, of a map that is NATIVE; else 0 */
  uint32_t members;  /* out: mblocks */
  uint32_t advice;   /* out */
  uint32_t flags;    /* out */
  uint32_t reserved0;
  uint64_t reserved[5];
};

#define MPOOL_IOC_MAP_MEMBERS_MAX 48

struct mpool_ioc_map_members {
  char name[MPOOL_IOC_MAP_NAME];
  uint32_t first;
  uint32_t count; /* at most MPOOL_IOC_MAP_MEMBERS_MAX; out: fewer at the end */
  uint64_t reserved[3];
  uint64_t objid[MPOOL_IOC_MAP_MEMBERS_MAX];  /* out */
  uint64_t length[MPOOL_IOC_MAP_MEMBERS_MAX]; /* out: what is written of it */
};

/* mpool_ioc_map_range.action */
#define MPOOL_IOC_MAP_ADVISE 0 /* value: the advice; offset and length 0 */
#define MPOOL_IOC_MAP_PURGE 1  /* drops pages, in a NATIVE map those that are not mapped */
/* Reads ahead, in the background; EOPNOTSUPP for a map that is not NATIVE, where posix_fadvise(2)
 * of its file does it. */
#define MPOOL_IOC_MAP_WILLNEED 2

struct mpool_ioc_map_range {
  char name[MPOOL_IOC_MAP_NAME];
  uint64_t offset;
  uint64_t length; /* 0: to the end */
  uint32_t action;
  uint32_t value; /* else 0 */
  uint64_t reserved[5];
};

#define MPOOL_IOC_MAP_CELLS 448

struct mpool_ioc_map_residency {
  char name[MPOOL_IOC_MAP_NAME];
  uint64_t offset; /* whole pages */
  uint64_t step;   /* bytes of a cell: whole pages */
  uint32_t count;  /* of cells, 1..MPOOL_IOC_MAP_CELLS; those behind the end have no pages */
  uint32_t reserved0;
  uint64_t reserved[5];
  uint32_t resident[MPOOL_IOC_MAP_CELLS]; /* out: pages in memory, of each cell */
};

/* EEXIST: there is such a map; E2BIG: greater than the mount allows (1 GiB); EINVAL: a member of
 * another type, or no members; ENOENT: no such member; EAGAIN: a member is not committed. */
#define MPOOL_IOC_MAP_CREATE _IOWR('m', 0xa0, struct mpool_ioc_map_create)
/* Of the following ENOENT: no map has the name. */
#define MPOOL_IOC_MAP_SHOW _IOWR('m', 0xa1, struct mpool_ioc_map)
#define MPOOL_IOC_MAP_MEMBERS _IOWR('m', 0xa2, struct mpool_ioc_map_members)
#define MPOOL_IOC_MAP_RANGE _IOW('m', 0xa3, struct mpool_ioc_map_range)
/* EOPNOTSUPP for a map that is not NATIVE: cachestat(2) of its file shows it. */
#define MPOOL_IOC_MAP_RESIDENCY _IOWR('m', 0xa4, struct mpool_ioc_map_residency)

#endif

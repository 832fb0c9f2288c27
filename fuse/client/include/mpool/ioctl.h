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

#define MPOOL_IOC_VERSION_NUMBER 1
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
/* Of an MDC: a compaction, between the appends of the remaining records. */
#define MPOOL_IOC_CSTART _IOW('m', 0x8e, struct mpool_ioc_handle)
#define MPOOL_IOC_CEND _IOW('m', 0x8f, struct mpool_ioc_handle)

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

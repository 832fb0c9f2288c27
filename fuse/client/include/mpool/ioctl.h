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

#endif

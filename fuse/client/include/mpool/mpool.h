/*
 * libmpool: pools, mblocks, mlogs, MDCs and maps for C programs. See libmpool(3).
 *
 * Sizes are bytes unless stated otherwise; a page is 4096 bytes. A handle is what an open call
 * returned; it is writable if it was opened with O_RDWR or O_WRONLY, or with flags 0.
 *
 * Errors: calls that can fail return 0 or an mpool_err_t. EINVAL for a null pointer where a handle
 * or a result is required; ENOMEM may come from every call; EIO: a device failed, and its class is
 * read-only from then on. A call that fails leaves its results unchanged, unless stated otherwise.
 *
 * Threads: any thread may make any call at any time, also on one handle, except during or after
 * the close of that handle. Calls block on I/O, never on another caller's decision. A child process
 * must not use handles of its parent; all descriptors are closed by exec.
 *
 * The library writes to syslog(3) (LOG_USER) only, installs no signal handlers and blocks all
 * signals in its own threads, which exist while a pool is open.
 */
#pragma once

#include <mpool/mpool_types.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/param.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <uuid/uuid.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- errors --- */

/* 0, or: bits 0..30 a positive errno, bit 31 zero, bits 32..47 a line and bits 48..63 the index of
 * a source file of the library. */
typedef int64_t mpool_err_t;

/* The text of the errno, as strerror(3): NUL-terminated, cut to size. Returns buf. */
char* mpool_strerror(mpool_err_t err, char* buf, size_t size);
/* The place and the text, as "client/mblock.cpp:123: No such file or directory"; "Success" for 0.
 * NUL-terminated if size > 0, cut to size. Returns buf. */
char* mpool_strinfo(mpool_err_t err, char* buf, size_t size);
/* The errno; 0 for 0. */
int mpool_errno(mpool_err_t err);

/* --- reports about devices --- */

void mpool_devrpt_init(struct mpool_devrpt* report);
/* Sets a report; fmt as printf(3), NULL: an empty text. No effect if report is NULL. */
void mpool_devrpt(struct mpool_devrpt* report, enum mpool_rc rcode, int off, const char* fmt, ...);
/* A text for a code, never NULL. */
const char* mpool_devrpt_strerror(enum mpool_rc rcode);

/* --- pools ---
 * A pool is inactive or active; activation survives the process. Names have 1..31 characters of
 * A-Z a-z 0-9 . _ - and begin with none of . and - (EINVAL, ENAMETOOLONG). */

/* Sets every parameter to "not given". */
void mpool_params_init(struct mpool_params* params);
/* Makes a pool on a block device or an image file, and activates it. Of params (NULL: defaults) it
 * takes uid, gid, mode, label, utype, spare_cap, ra_pages_max, mblocksz[MP_MED_CAPACITY] (a power
 * of two, 1..64 MiB), mdc0cap, mdcncap, mdcnum; on success params has what was taken. EEXIST a pool
 * of that name is there, EBUSY the device has a pool or is in use, ENOSPC it is too small.
 * 1 << MP_FLAGS_FORCE takes the device regardless of its content. */
mpool_err_t mpool_create(const char* name, const char* device, struct mpool_params* params,
                         uint32_t flags, struct mpool_devrpt* report);
/* Deactivates a pool (name or UUID) and wipes it. EBUSY while it is open, ENOENT. */
mpool_err_t mpool_destroy(const char* name, uint32_t flags, struct mpool_devrpt* report);
/* Activates a pool (name or UUID); no effect if it is active. Changes uid, gid, mode, label and
 * utype where params gives them, and fills in params, which may be NULL. ENOENT. */
mpool_err_t mpool_activate(const char* name, struct mpool_params* params, uint32_t flags,
                           struct mpool_devrpt* report);
/* EBUSY while a handle or a map exists, ENXIO not active, ENOENT. */
mpool_err_t mpool_deactivate(const char* name, uint32_t flags, struct mpool_devrpt* report);
/* Adds a device of a class that an active pool lacks (else EEXIST). EBUSY while the pool is open or
 * the device has a pool, EINVAL not active. Of params: mblocksz[mclass], which is filled in. */
mpool_err_t mpool_mclass_add(const char* name, const char* device, enum mp_media_classp mclass,
                             struct mpool_params* params, uint32_t flags,
                             struct mpool_devrpt* report);
/* Renames an inactive pool. EBUSY active, ENOENT, EEXIST unless forced. */
mpool_err_t mpool_rename(const char* old_name, const char* new_name, uint32_t flags,
                         struct mpool_devrpt* report);
/* The pools of the machine, active or not: only mp_poolid and mp_name are set. The caller frees
 * *vector with free(3); NULL if there is none. */
mpool_err_t mpool_scan(int* count, struct mpool_params** vector, struct mpool_devrpt* report);
/* The active pools, with all parameters, also those that another process has exclusively. As
 * mpool_scan(). */
mpool_err_t mpool_list(int* count, struct mpool_params** vector, struct mpool_devrpt* report);
/* flags of open(2): O_RDWR, O_WRONLY, O_RDONLY and O_EXCL; others are ignored. O_RDONLY alone is 0
 * and means O_RDWR; O_RDONLY | O_EXCL is read-only. With O_EXCL: EBUSY while the pool is open or
 * mapped, and every other open fails with EBUSY. ENOENT not active, EACCES by owner, group and
 * mode, EBUSY mounted or open by another process. */
mpool_err_t mpool_open(const char* name, uint32_t flags, struct mpool** mp,
                       struct mpool_devrpt* report);
/* EBUSY, without effect, while logs opened by this handle are open. Maps remain until unmapped. */
mpool_err_t mpool_close(struct mpool* mp);
/* props may be NULL. EINVAL no such class, ENOENT the pool has none of it. */
mpool_err_t mpool_mclass_get(struct mpool* mp, enum mp_media_classp mclass,
                             struct mpool_mclass_props* props);
mpool_err_t mpool_usage_get(struct mpool* mp, struct mpool_usage* usage);
/* By the path of the device, links resolved. ENOENT not of this pool. */
mpool_err_t mpool_dev_props_get(struct mpool* mp, const char* device, struct mpool_devprops* props);
mpool_err_t mpool_params_get(struct mpool* mp, struct mpool_params* params,
                             struct mpool_devrpt* report);
/* Changes what is given of uid, gid, mode, label, utype, ra_pages_max (at most 32), spare_cap and
 * spare_stg; ignores all others. Durable on return. EPERM for owner, group or mode without
 * privilege, EINVAL for a bad label. */
mpool_err_t mpool_params_set(struct mpool* mp, struct mpool_params* params,
                             struct mpool_devrpt* report);

/* --- mblocks ---
 * Written in whole pages, committed, then immutable. Ids are never 0 and never used again; EINVAL
 * for an id of another type, ENOENT for none. On a read-only handle all calls except find,
 * props_get and read fail with EPERM. */

/* spare: spare zones first, then usable ones; otherwise only usable ones. props may be NULL. ENOENT
 * the pool has no such class, ENOSPC. */
mpool_err_t mpool_mblock_alloc(struct mpool* mp, enum mp_media_classp mclass, bool spare,
                               uint64_t* mbid, struct mblock_props* props);
/* Also of uncommitted ones. props may be NULL. */
mpool_err_t mpool_mblock_find(struct mpool* mp, uint64_t mbid, struct mblock_props* props);
mpool_err_t mpool_mblock_props_get(struct mpool* mp, uint64_t mbid, struct mblock_props* props);
/* Appends iov[0..iovc): page-aligned memory, whole pages, a page to 32 MiB in all, iovc at most
 * 1024, within the capacity (EINVAL). By direct I/O from the caller's memory, which is free on
 * return; durable by the commit. After EIO the mblock can only be aborted. */
mpool_err_t mpool_mblock_write(struct mpool* mp, uint64_t mbid, const struct iovec* iov, int iovc);
/* Durable on return, content and existence; commits of several threads share flushes. */
mpool_err_t mpool_mblock_commit(struct mpool* mp, uint64_t mbid);
/* Of an uncommitted mblock. */
mpool_err_t mpool_mblock_abort(struct mpool* mp, uint64_t mbid);
/* Of a committed mblock; durable on return. EBUSY while it is mapped or being read. */
mpool_err_t mpool_mblock_delete(struct mpool* mp, uint64_t mbid);
/* Of a committed mblock, by direct I/O: offset a multiple of the page, iov as of a write. EINVAL
 * beyond the written length: there are no short reads. */
mpool_err_t mpool_mblock_read(struct mpool* mp, uint64_t mbid, const struct iovec* iov, int iovc,
                              off_t offset);

/* --- mlogs ---
 * Logs of records. On a read-only handle alloc, commit, abort, delete, append, sync and erase fail
 * with EPERM. */

/* props may be NULL. ENOENT the pool has no such class, ENOSPC. */
mpool_err_t mpool_mlog_alloc(struct mpool* mp, enum mp_media_classp mclass,
                             struct mlog_capacity* capacity, uint64_t* mlogid,
                             struct mlog_props* props);
/* Durable on return; the log is empty. */
mpool_err_t mpool_mlog_commit(struct mpool* mp, uint64_t mlogid);
mpool_err_t mpool_mlog_abort(struct mpool* mp, uint64_t mlogid);
/* EBUSY while it is open. */
mpool_err_t mpool_mlog_delete(struct mpool* mp, uint64_t mlogid);
/* A committed log (EINVAL otherwise). An open log is opened once more, with the same position of
 * reading; EINVAL with other flags. *gen is its generation. ENODATA damaged, or, with
 * MLOG_OF_COMPACT_SEM, without the marker of a compaction; EMSGSIZE its compaction was not
 * finished. */
mpool_err_t mpool_mlog_open(struct mpool* mp, uint64_t mlogid, uint8_t flags, uint64_t* gen,
                            struct mpool_mlog** mlog);
/* Makes durable what was appended, and ends the handle, also when that fails. */
mpool_err_t mpool_mlog_close(struct mpool_mlog* mlog);
/* One record of len bytes, taken from iov in order until len is reached. Entries of length 0 are
 * passed over; a NULL base stands for zeros. All or nothing. sync: durable on return, with
 * everything before; otherwise readable at once, and durable by sync or close. EFBIG no room. */
mpool_err_t mpool_mlog_append(struct mpool_mlog* mlog, struct iovec* iov, size_t len, int sync);
/* Reading continues at the start. */
mpool_err_t mpool_mlog_rewind(struct mpool_mlog* mlog);
/* The next record, whose length is *rdlen; 0 at the end. EOVERFLOW: it has *rdlen bytes, more than
 * size; the position stays. ENODATA, EIO: the position is lost until rewind. */
mpool_err_t mpool_mlog_read(struct mpool_mlog* mlog, void* data, size_t size, size_t* rdlen);
/* With skip > 0 first passes over one record, which must have exactly skip bytes. ERANGE: it is
 * shorter (*rdlen bytes; 0 at the end) and was passed over; EOVERFLOW: it is longer, the position
 * stays. Then, unless data is NULL or size 0 (*rdlen = skip), as read. */
mpool_err_t mpool_mlog_seek_read(struct mpool_mlog* mlog, size_t skip, void* data, size_t size,
                                 size_t* rdlen);
/* Everything appended is durable on return. */
mpool_err_t mpool_mlog_sync(struct mpool_mlog* mlog);
/* Bytes used of the capacity, block headers included. */
mpool_err_t mpool_mlog_len(struct mpool_mlog* mlog, size_t* len);
/* Empties the log: generation max(current + 1, min_gen), durable on return; rewound. */
mpool_err_t mpool_mlog_erase(struct mpool_mlog* mlog, uint64_t min_gen);
mpool_err_t mpool_mlog_props_get(struct mpool_mlog* mlog, struct mlog_props* props);

/* --- MDCs ---
 * Pairs of mlogs of which one is active, with compaction. */

/* Two logs of the same capacity, or none. props may be NULL. */
mpool_err_t mpool_mdc_alloc(struct mpool* mp, uint64_t* logid1, uint64_t* logid2,
                            enum mp_media_classp mclass, const struct mdc_capacity* capacity,
                            struct mdc_props* props);
/* Both; after a failure neither exists, unless it was committed before. */
mpool_err_t mpool_mdc_commit(struct mpool* mp, uint64_t logid1, uint64_t logid2);
mpool_err_t mpool_mdc_abort(struct mpool* mp, uint64_t logid1, uint64_t logid2);
/* Deletes each, or aborts it if it was not committed; returns the last error of a delete. */
mpool_err_t mpool_mdc_delete(struct mpool* mp, uint64_t logid1, uint64_t logid2);
mpool_err_t mpool_mdc_get_root(struct mpool* mp, uint64_t* logid1, uint64_t* logid2);
/* Finishes an interrupted compaction, durable on return. May be opened several times: the same
 * position of reading. EINVAL equal ids, or a pair that cannot be told apart; ENODATA damaged;
 * EMEDIUMTYPE the root MDC of a pool with a file system, by a writable handle. */
mpool_err_t mpool_mdc_open(struct mpool* mp, uint64_t logid1, uint64_t logid2, uint8_t flags,
                           struct mpool_mdc** mdc);
mpool_err_t mpool_mdc_close(struct mpool_mdc* mdc);
/* As the same calls of mlogs, on the active log. EFBIG: compact, then append again. */
mpool_err_t mpool_mdc_sync(struct mpool_mdc* mdc);
mpool_err_t mpool_mdc_rewind(struct mpool_mdc* mdc);
mpool_err_t mpool_mdc_read(struct mpool_mdc* mdc, void* data, size_t size, size_t* rdlen);
mpool_err_t mpool_mdc_append(struct mpool_mdc* mdc, void* data, ssize_t len, bool sync);
/* Begins a compaction: the other log becomes active, empty. Other threads must not append until its
 * end. If it fails, or cend does, the MDC can only be closed. */
mpool_err_t mpool_mdc_cstart(struct mpool_mdc* mdc);
/* Ends it: what was appended since is durable and replaces the old content. Until then other
 * handles of the MDC get EBUSY. If the handle that began it is closed before, or its process ends,
 * they get EINVAL and can only be closed; the next open has the old content. */
mpool_err_t mpool_mdc_cend(struct mpool_mdc* mdc);
mpool_err_t mpool_mdc_usage(struct mpool_mdc* mdc, size_t* used);

/* --- maps ---
 * Committed mblocks in memory, read-only, through the page cache. mbidx is an index into the
 * vector of ids. Behind the written length of an mblock there are zeros. */

/* Up to (1 << mp_vma_size_max) bytes (E2BIG) of committed mblocks (ENOENT), which cannot be deleted
 * while they are mapped. Faults do not read ahead until mpool_mcache_madvise() allows it. If it
 * fails *mapp is NULL. */
mpool_err_t mpool_mcache_mmap(struct mpool* mp, size_t mbidc, uint64_t* mbidv,
                              enum mpc_vma_advice advice, struct mpool_mcache_map** mapp);
/* Also after mpool_close(). NULL: no effect. */
mpool_err_t mpool_mcache_munmap(struct mpool_mcache_map* map);
/* madvise(2) on a part of an mblock; length SIZE_MAX: to the end of the map. */
mpool_err_t mpool_mcache_madvise(struct mpool_mcache_map* map, uint32_t mbidx, off_t offset,
                                 size_t length, int advice);
/* Drops the pages of the map's mblocks from memory. The map stays valid. */
mpool_err_t mpool_mcache_purge(struct mpool_mcache_map* map, const struct mpool* mp);
/* Resident pages, and all pages of the map. */
mpool_err_t mpool_mcache_mincore(struct mpool_mcache_map* map, const struct mpool* mp, size_t* rssp,
                                 size_t* vssp);
/* The address of an mblock; NULL for a bad index or map. */
void* mpool_mcache_getbase(struct mpool_mcache_map* map, const uint32_t mbidx);
/* pagev[k]: the address of page pagenumv[k] of mblock mbidx, for k < pagec. Reads nothing. */
mpool_err_t mpool_mcache_getpages(struct mpool_mcache_map* map, const uint32_t pagec,
                                  const uint32_t mbidx, const off_t pagenumv[], void* pagev[]);

#ifdef __cplusplus
}
#endif

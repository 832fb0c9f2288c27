// What serves the calls on an open pool: the engine in this process, or the daemon of a mount
// (fuse/client/README.md, "Two back ends").
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <mpool/ioctl.h>

#include "engine/base/bytes.h"
#include "engine/client/client_log.h"
#include "engine/format/media.h"
#include "engine/format/object_id.h"
#include "fuse/client/api.h"

namespace libmpool {

enum class Sharing { shared, exclusive };

// An open log or pair of logs; destroyed without close(), it is closed and failures are passed
// over.
//
// Threads, here and below: all functions may be called at the same time. They may block on I/O.
// Errors: mpool::Error; the meaning of functions and their errors are those of mpool::ClientLog,
// mpool::ClientMdc and mpool::ClientPool.
class Records {
 public:
  virtual ~Records() = default;
  virtual void append(std::span<const mpool::ConstByteSpan> parts, bool durable) = 0;
  virtual void sync() = 0;
  virtual std::uint64_t used() = 0;
  virtual mpool::SharedReader::Result read(mpool::ByteSpan into) = 0;
  virtual void rewind() = 0;
  // Durable on return. Called once, and nothing after it. It has ended also when it throws.
  virtual void close() = 0;
};

class Log : public Records {
 public:
  virtual mpool::SharedReader::Result skip_and_read(std::size_t length, mpool::ByteSpan into) = 0;
  virtual std::uint64_t generation() = 0;
  virtual void erase(std::uint64_t min_generation) = 0;
};

class Mdc : public Records {
 public:
  virtual void start_compaction() = 0;
  virtual void end_compaction() = 0;
  virtual bool failed() = 0;  // a compaction failed
};

// Committed mblocks that cannot be deleted as long as it lives, for one map.
//
// Threads: all functions may be called at the same time, map_all() once.
class PinnedMblocks {
 public:
  virtual ~PinnedMblocks() = default;
  virtual std::size_t count() const = 0;
  virtual std::uint64_t length(std::size_t index) const = 0;  // bytes written
  // The smallest power of two that holds each, and a page.
  virtual std::uint64_t stride() const = 0;
  // Maps mblock i, shared and read-only, at `base` + i * stride(), in memory that is reserved, and
  // zero.
  virtual void map_all(std::byte* base) = 0;
  // The map is one mapping: what is written of the mblocks, and zeros between them.
  virtual bool is_one_mapping() const { return false; }
  // Drops the content from the page cache, as far as nothing has it mapped.
  virtual void drop_cached() = 0;
  // Pages in memory; nullopt: mincore(2) tells.
  virtual std::optional<std::size_t> resident_pages() const { return std::nullopt; }
};

class Backend {
 public:
  virtual ~Backend() = default;

  // --- the pool ---
  // Called when the first use of the pool in this process begins, and when an exclusive one ends.
  // EBUSY: another process has it, and one of both is exclusive.
  virtual void share(Sharing sharing) = 0;
  virtual mpool_ioc_pool facts() = 0;
  virtual mpool_ioc_usage usage() = 0;
  virtual void change_settings(const mpool_ioc_settings& wanted) = 0;
  // The root MDC holds a tree of a file system, or will.
  virtual bool holds_tree() = 0;
  // The committed object belongs to that tree, or may.
  virtual bool is_of_tree(mpool::ObjectId id) = 0;
  // EPERM for such an object, unless the call that would change it fails anyway.
  virtual void check_changeable(mpool::ObjectId id) = 0;
  virtual std::vector<mpool::ObjectId> objects() = 0;  // committed ones

  // --- objects ---
  virtual mpool::ObjectId allocate(mpool::ObjectType type, mpool::MediaClass media_class,
                                   std::uint64_t capacity, mpool::SpacePolicy policy) = 0;
  virtual void commit(mpool::ObjectId id, mpool::ObjectType type) = 0;
  virtual void abort(mpool::ObjectId id, mpool::ObjectType type) = 0;
  virtual void remove(mpool::ObjectId id, mpool::ObjectType type) = 0;
  virtual mblock_props mblock(mpool::ObjectId id) = 0;
  virtual void write_mblock(mpool::ObjectId id, std::span<const mpool::ConstByteSpan> parts) = 0;
  virtual void read_mblock(mpool::ObjectId id, std::uint64_t offset,
                           std::span<const mpool::ByteSpan> parts) = 0;
  // EINVAL: an id of another type; ENOENT: one is not committed; E2BIG: more than a map may have.
  virtual std::unique_ptr<PinnedMblocks> pin(std::span<const std::uint64_t> ids,
                                             mpc_vma_advice advice) = 0;
  virtual mlog_props log(mpool::ObjectId id) = 0;
  virtual std::unique_ptr<Log> open_log(mpool::ObjectId id, mpool::ClientLog::Options options) = 0;
  virtual std::unique_ptr<Mdc> open_mdc(mpool::ObjectId first, mpool::ObjectId second) = 0;
};

}  // namespace libmpool

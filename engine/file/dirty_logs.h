// Logs with appends that are not durable yet.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "engine/base/error.h"
#include "engine/object/log.h"
#include "engine/tree/attributes.h"

namespace mpool::names {

// The set of logs to be made durable, and the two steps that do it: all logs share one flush of
// each device.
//
// Threads: add(), remove(), check() and size() may be called by any thread at any time. write(),
// make_durable() and sync() belong to the journal's thread, or to the last thread after the
// journal's thread ended. mutex_ is a leaf of the lock order and is not held during I/O.
//
// Ownership: an entry keeps its Log, and with it the pins on its mlogs. The caller that queues the
// deletion of the mlogs calls remove() first; the journal's thread drops its own references before
// it takes the next batch, so no pin is left when the mlogs are deleted.
class DirtyLogs {
 public:
  // Messages name the pool and go to its logger.
  explicit DirtyLogs(const Pool& pool) : pool_(pool) {}

  // Must be called after the append and before the append is acknowledged.
  void add(InodeNumber inode, const std::shared_ptr<Log>& log);
  void remove(InodeNumber inode);
  bool contains(InodeNumber inode) const;
  // Throws what the last write or flush of a log in the set failed with. After ENOSPC the log is
  // tried again with the others; after anything else its appends cannot become durable any more.
  void check() const;
  // The number of logs in the set.
  std::size_t size() const;

  // Hands everything appended before the call to the devices.
  void write();
  // Makes the data of write() durable. `flushed`: devices that were flushed since then. A log that
  // cannot be written or flushed is logged once; the other logs continue. Returns false when
  // write() found no work.
  bool make_durable(std::span<Device* const> flushed);
  void sync() {
    write();
    make_durable({});
  }

 private:
  struct Entry {
    std::shared_ptr<Log> log;
    std::optional<Error> failure;  // of the last write or flush; ENOSPC: it is tried again
  };
  struct Unflushed {
    InodeNumber inode;
    std::shared_ptr<Log> log;
    Log::Written written;
  };
  void remove_if_clean(InodeNumber inode, const Log& log);
  void fail(InodeNumber inode, const Log& log, const Error& error);

  const Pool& pool_;
  mutable std::mutex mutex_;
  std::map<InodeNumber, Entry> entries_;
  // Used by the journal's thread only:
  std::vector<Unflushed> unflushed_;
  bool found_any_ = false;  // by the last write()
};

}  // namespace mpool::names

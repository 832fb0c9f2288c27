// Committed files that the daemon serves, as the reaper sees them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/cache/reaper.h"
#include "engine/cache/weak_table.h"
#include "engine/names/namespace.h"
#include "fuse/ops/notifier.h"

namespace mpoolfs {

// A file whose pages the kernel has from the daemon. How many are in memory is only known from the
// reads of the daemon: pages that the kernel reclaims by itself go on being counted.
//
// Threads: all functions may be called at the same time.
class ServedFile {
 public:
  ServedFile(mpool::InodeNumber inode, std::uint64_t size, std::uint64_t chunk_size)
      : inode_(inode), chunk_size_(chunk_size), chunks_((size + chunk_size - 1) / chunk_size) {}

  // The kernel gets bytes into its page cache.
  void note_read(std::uint64_t offset, std::uint64_t length) noexcept;

 private:
  friend class ServedFiles;
  struct Part {
    std::atomic<std::uint64_t> bytes = 0;     // read since the last eviction
    std::atomic<std::uint64_t> reads = 0;     // so far
    std::weak_ptr<mpool::CachedChunk> chunk;  // under ServedFiles::mutex_
  };

  const mpool::InodeNumber inode_;
  const std::uint64_t chunk_size_;
  std::vector<Part> chunks_;
  mpool::FileAdvice advice_;
  std::atomic<unsigned> holds_ = 0;
};

// Threads: all functions may be called at the same time.
class ServedFiles {
 public:
  // All must outlive the last look of the reaper.
  ServedFiles(mpool::Reaper& reaper, mpool::Namespace& names, Notifier& notifier)
      : reaper_(reaper), names_(names), notifier_(notifier) {}

  // A committed file is opened; it is tracked until the result ends and its pages are gone.
  std::shared_ptr<ServedFile> opened(mpool::InodeNumber inode, std::uint64_t size);
  // Of a file that may be tracked. Takes a leaf lock only.
  void set_advice(mpool::InodeNumber inode, mpool::Advice advice);
  // As ServedFile::note_read(). Never blocks.
  void note_read(ServedFile& file, std::uint64_t offset, std::uint64_t length) noexcept;

 private:
  class Chunk;

  mpool::Reaper& reaper_;
  mpool::Namespace& names_;
  Notifier& notifier_;
  std::mutex mutex_;  // a leaf
  mpool::WeakTable<mpool::InodeNumber, ServedFile> files_;
};

}  // namespace mpoolfs

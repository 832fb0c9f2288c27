// Reading an mlog of which only the id is known.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/mlog/mlog.h"

namespace mpool {

// Opens an mlog to read it, whether it is one of an MDC or not: only its owner knows. Of one with
// an unfinished compaction too. Errors: those of Mlog::open.
std::unique_ptr<Mlog> open_any_mlog(const MlogLocation& location);

// The payloads of the records of an mlog, concatenated.
//
// Threads: all functions may be called at the same time. Reading on is cheap; reading at an earlier
// offset than before starts again at the first record.
class LogContent {
 public:
  explicit LogContent(std::unique_ptr<Mlog> log) : log_(std::move(log)), reader_(*log_) {}

  // The bytes read; fewer than requested only at the end. Errors: those of MlogReader.
  std::size_t read(std::uint64_t offset, ByteSpan into);

 private:
  const std::unique_ptr<Mlog> log_;
  std::mutex mutex_;  // guards the following
  MlogReader reader_;
  std::vector<std::byte> record_;  // content [start_, start_ + size)
  std::uint64_t start_ = 0;
};

}  // namespace mpool

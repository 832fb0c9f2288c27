// What the reaper evicts.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/cache/advice.h"

namespace mpool {

// A part of committed content in the page cache: an mblock of a map, or a part of a file.
//
// Threads: those of the reaper's job, one at a time; kept() and advice() on any. No function blocks
// on a lock of the data path.
class CachedChunk {
 public:
  struct State {
    std::uint64_t resident = 0;  // pages
    std::uint64_t uses = 0;      // of which the owner knows, so far: a greater number is a use
  };

  virtual ~CachedChunk() = default;

  // nullopt: the content is gone.
  virtual std::optional<State> look() = 0;
  // Drops the pages of a part, in bytes from the begin of the chunk; may leave those that are
  // mapped or locked.
  virtual void evict(std::uint64_t offset, std::uint64_t length) = 0;

  virtual std::uint64_t length() const = 0;  // bytes
  virtual Advice advice() const = 0;
  // Tracked also without resident pages, because it is open or mapped.
  virtual bool kept() const = 0;
};

}  // namespace mpool

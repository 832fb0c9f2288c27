// A map as the reaper sees it (engine/cache/README.md, "The reaper").
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "engine/cache/advice.h"
#include "engine/cache/collection.h"
#include "engine/cache/reaper.h"
#include "fuse/native/map_views.h"

namespace mpoolfs {

// Its chunks: each member, or 32 MiB of a longer one. What the kernel reads by itself has its pages
// in the file of a view, which the reaper opens for each look; of what the daemon serves only the
// reads are known.
//
// Threads: all functions may be called at the same time. The mutex is a leaf.
class CachedMap {
 public:
  // Drops the pages of a part that the daemon served.
  using Drop = std::function<void(std::uint64_t offset, std::uint64_t length)>;

  CachedMap(mpool::Reaper& reaper, mpool::Advice advice);
  // The next look of the reaper forgets the chunks.
  ~CachedMap();
  CachedMap(const CachedMap&) = delete;
  CachedMap& operator=(const CachedMap&) = delete;

  mpool::Advice advice() const;
  void set_advice(mpool::Advice advice);

  // Its pages will be those of that file.
  void show(const std::shared_ptr<const MapViews::File>& file);
  // Its pages may come into memory from now on. Tracks its members, unless the reaper does.
  void note_use(const mpool::Collection& members, const Drop& drop);
  // The kernel gets bytes from the daemon.
  void note_read(std::uint64_t offset, std::uint64_t length) noexcept;

 private:
  class Chunk;
  class Chunks;
  struct State;

  mpool::Reaper& reaper_;
  const std::shared_ptr<State> state_;
  std::mutex mutex_;
  std::weak_ptr<Chunks> chunks_;  // the reaper's
};

}  // namespace mpoolfs

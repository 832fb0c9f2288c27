// Files that the kernel reads natively, as the reaper sees them.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "engine/cache/reaper.h"
#include "engine/cache/weak_table.h"
#include "engine/names/namespace.h"
#include "fuse/native/view.h"

namespace mpoolfs {

// Keeps a file's parts tracked while it exists.
using CachedFileHold = std::shared_ptr<const void>;

// The pages of a native file belong to the file of its view, also those that are mapped through the
// mount. The reaper opens that file for each look, so that it prevents neither the end of a view
// nor, but for a moment, try_alone().
//
// Threads: all functions may be called at the same time.
class CachedFiles {
 public:
  // Both must outlive it.
  CachedFiles(mpool::Reaper& reaper, mpool::Namespace& names) : reaper_(reaper), names_(names) {}

  // The file is open in `view` as `fd`, until the hold ends.
  CachedFileHold opened(mpool::InodeNumber inode, const std::shared_ptr<const View>& view, int fd);
  // Of a file that may be tracked. Takes a leaf lock only.
  void set_advice(mpool::InodeNumber inode, mpool::Advice advice);

 private:
  class File;
  class Chunk;

  mpool::Reaper& reaper_;
  mpool::Namespace& names_;
  std::mutex mutex_;  // a leaf
  mpool::WeakTable<mpool::InodeNumber, File> files_;
};

}  // namespace mpoolfs

// The content of `.mpool/status.json` (mpoolfs(8), "STATUS").
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/cache/reaper.h"
#include "engine/pool/pool.h"
#include "engine/tree/space_stats.h"
#include "fuse/control/pool_json.h"
#include "fuse/native/native_stats.h"
#include "fuse/options.h"
#include "fuse/transport/transport_info.h"

namespace mpoolfs {

// The state of the mount that its pool does not know.
struct MountInfo {
  Options options;
  bool foreign = false;  // mpool::Namespace::foreign()
  std::size_t open_files =
      0;  // handles the kernel holds, those of the control directory not counted
  TransportInfo transport;
  NativeStats native;
  mpool::ReaperStats reaper;
  mpool::MetadataStats metadata;  // mpool::Namespace::metadata()
  mpool::PackStats packs;         // mpool::Namespace::packs()
  std::uint64_t reads = 0;        // READ requests so far
};

// The options that last as long as the mount, by name.
Json options_json(const Options& options);

// One JSON object, indented, with a newline at the end. Numbers are not a consistent snapshot: no
// operation is stopped for them. Blocks on a compaction of an MDC in progress.
std::string status_text(const mpool::Pool& pool, const MountInfo& mount);

}  // namespace mpoolfs

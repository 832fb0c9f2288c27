// The content of `.mpool/metrics` (mpoolfs(8), "METRICS").
#pragma once

#include <string>

#include "engine/pool/pool.h"
#include "fuse/control/status.h"

namespace mpoolfs {

// The pool's Metrics, and what the status shows of pool and mount, in the text format of
// Prometheus. Numbers are not a consistent snapshot: no operation is stopped for them. Blocks on a
// compaction of an MDC in progress.
std::string metrics_text(const mpool::Pool& pool, const MountInfo& mount);

}  // namespace mpoolfs

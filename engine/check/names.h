// The named tree against the objects. Internal to engine/check.
#pragma once

#include "engine/check/metadata.h"
#include "engine/check/report.h"

namespace mpool::check {

// Reads the root MDC, follows its records and compares the tree with the objects. Returns true when
// the tree belongs to mpoolfs: the root MDC is not empty and belongs to no other client.
bool check_names(const Metadata& metadata, Report& report);

}  // namespace mpool::check

// Reading the records of the MDCs into memory. Internal to engine/pool.
#pragma once

#include <string>

#include "engine/pool/pool_state.h"

namespace mpool {

// What MDC0, which is open, says about the pool. Errors: ENOTRECOVERABLE corrupt records, ENXIO it
// does not describe the capacity device (never finished, or the superblock points to a wrong
// place), ENOTSUP a later version.
PoolProperties read_properties(PoolState& pool);

// Reads the records of objects of an open MDC into its table and marks their zones used; reports
// damage. Threads: different slots at the same time.
void load_slot(PoolState& pool, MdcSlot& slot);

// Whether anything was ever kept in a mlog of the pool's own. The first thing that is done with a
// new pair of them is to write to it.
bool was_used(const MlogPlace& mlog);

// Two objects whose zones overlap, named, or an empty string.
std::string find_overlap(const PoolState& pool);

}  // namespace mpool

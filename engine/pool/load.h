// Reading the records of the MDCs into memory. Internal to engine/pool.
#pragma once

#include <string>

#include "engine/pool/pool_state.h"

namespace mpool {

// What MDC0 says about the pool, read without writing anything, also when MDC0 needs recovery.
// Errors: ENOTRECOVERABLE no valid MDC0 or corrupt records, ENXIO it does not describe the capacity
// device (never finished, or the superblock points to a wrong place), ENOTSUP a later version.
PoolProperties read_properties(const PoolState& pool);

// Reads the records of objects of an open MDC into its table and marks their zones used. Threads:
// different slots at the same time. ENOTRECOVERABLE when they are corrupt.
void load_slot(PoolState& pool, MdcSlot& slot);

// Two objects whose zones overlap, named, or an empty string.
std::string find_overlap(const PoolState& pool);

}  // namespace mpool

// Reading the records of the MDCs into memory. Internal to engine/pool.
#pragma once

#include <string>

#include "engine/pool/pool_state.h"

namespace mpool {

// Reads the state of the pool from MDC0, which must be open. Errors: ENOTRECOVERABLE corrupt
// records, ENXIO it does not describe the capacity device (creation never finished, or the
// superblock points to a wrong place), ENOTSUP a later version.
PoolProperties read_properties(PoolState& pool);

// Reads the object records of an open MDC into its table and marks their zones used; reports
// damage. Threads: different slots at the same time.
void load_slot(PoolState& pool, MdcSlot& slot);

// True if a record was ever stored in an mlog of the pool's own. The first operation on a new pair
// of them is a write.
bool was_used(const MlogLocation& mlog);

// Describes two objects whose zones overlap; empty: none.
std::string find_overlap(const PoolState& pool);

}  // namespace mpool

// The memory handed out by operator new.
#pragma once

#include <cstddef>

namespace mpool::fuzz {

// Present bytes, and the maximum since the last reset_peak().
std::size_t live_memory();
std::size_t peak_memory();
void reset_peak();

}  // namespace mpool::fuzz

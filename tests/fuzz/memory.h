// How much memory operator new has given out.
#pragma once

#include <cstddef>

namespace mpool::fuzz {

// Bytes now, and the most since the last reset_peak().
std::size_t live_memory();
std::size_t peak_memory();
void reset_peak();

}  // namespace mpool::fuzz

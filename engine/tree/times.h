// Times of inodes as records keep them (engine/tree/records.md, "Times").
#pragma once

#include <ctime>

#include "engine/tree/records.h"

namespace mpool::names {

// Converts to the nearest time that a record can store, without wrapping: to the nanosecond from
// 1680 to 2259, before and after that to the second, over more than 10^10 years. Monotonic.
Nanoseconds to_nanoseconds(const std::timespec& time);
// The inverse, for any value.
std::timespec to_timespec(Nanoseconds time);

}  // namespace mpool::names

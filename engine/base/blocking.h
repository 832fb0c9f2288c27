// Whether a call may block.
#pragma once

#include <cstdint>

namespace mpool {

// forbidden: the call returns at once, without an effect where it would block on a device, or on a
// thread that does; its return value says so.
enum class Blocking : std::uint8_t { forbidden, allowed };

}  // namespace mpool

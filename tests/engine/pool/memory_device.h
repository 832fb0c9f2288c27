// Media in memory that outlive their device, for activating again and for checking the state after
// each write.
#pragma once

#include "engine/io/simulated_device.h"

namespace mpool::test {

using Media = SimulatedMedia;
using MemoryDevice = SimulatedDevice;

}  // namespace mpool::test

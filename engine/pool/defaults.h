// Sizes of a new pool's parts (engine/pool/README.md, "Defaults"; engine/format/README.md,
// "Creating a pool").
#pragma once

#include <cstdint>

#include "engine/format/media.h"
#include "engine/format/records.h"
#include "engine/pool/pool.h"

namespace mpool {

// Zone size in bytes for a device of that size.
std::uint64_t default_zone_size(std::uint64_t device_size);
// MDCs besides MDC0, on devices large enough for them.
inline constexpr unsigned kDefaultMdcCount = 16;
// The default number for a device.
unsigned default_mdc_count(const DeviceParams& capacity);
// Bytes of each mlog of MDC1..count.
std::uint64_t default_mdc_capacity(const DeviceParams& capacity, unsigned count);
// Bytes of each mlog of the root MDC.
std::uint64_t default_root_capacity(std::uint64_t device_size);
// Bytes of each mlog of MDC0.
inline constexpr std::uint64_t kDefaultMdc0Capacity = 1ull << 20;

// The default settings of a pool. root_capacity: bytes of each mlog of the root MDC.
ConfigRecord default_config(std::uint64_t root_capacity);

}  // namespace mpool

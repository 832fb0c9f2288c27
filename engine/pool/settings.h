// Valid names and settings of a pool and its devices. Internal to engine/pool; all functions are
// pure. `subject`: the subject of messages ("pool NAME").
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/format/media.h"
#include "engine/io/device.h"

namespace mpool {

// All throw EINVAL.
void check_pool_name(const std::string& name);
void check_spare_percent(const std::string& subject, unsigned percent);
void check_label(const std::string& subject, const std::string& label);
void check_mode(const std::string& subject, std::uint32_t mode);
// log2 of the maximum mapping size in bytes: at least a page.
void check_map_shift(const std::string& subject, std::uint32_t shift);
// Bytes: a power of two in the range that CreateOptions states.
void check_zone_size(const std::string& subject, std::uint64_t zone_size);

// Parameters of a new device of a pool with zones of `zone_size`, or by default according to its
// size. Errors: ENOTSUP a host-managed device, EINVAL more zones than can be numbered, ENOSPC too
// small for one zone besides the superblocks.
DeviceParams make_device_params(const Device& device, MediaClass media_class,
                                std::optional<std::uint64_t> zone_size);
// Zones of that size on `size` bytes of the device; EINVAL when there are more than can be
// numbered.
std::uint32_t count_zones(const Device& device, std::uint64_t size, std::uint64_t zone_size);

}  // namespace mpool

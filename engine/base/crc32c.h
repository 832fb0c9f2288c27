// CRC32C (Castagnoli): initial value all ones, final inversion (engine/format/README.md,
// "Superblock").
#pragma once

#include <cstdint>

#include "engine/base/bytes.h"

namespace mpool {

std::uint32_t crc32c(ConstByteSpan data);

}  // namespace mpool

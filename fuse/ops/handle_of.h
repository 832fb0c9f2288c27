// Between a KernelHandle and the file handle number of requests.
#pragma once

#include <bit>
#include <cstdint>

#include "fuse/ops/fuse_api.h"
#include "fuse/ops/handle_table.h"

namespace mpoolfs {

static_assert(sizeof(KernelHandle*) <= sizeof(std::uint64_t));

// The kernel returns the number that open and create gave it, so the number always belongs to an
// open handle. Null before.
inline KernelHandle* handle_of(const fuse_file_info& info) {
  return std::bit_cast<KernelHandle*>(static_cast<std::uintptr_t>(info.fh));
}

inline std::uint64_t handle_number(KernelHandle& handle) {
  return std::bit_cast<std::uintptr_t>(&handle);
}

}  // namespace mpoolfs

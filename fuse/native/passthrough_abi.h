// FUSE passthrough as the kernel has it (include/uapi/linux/fuse.h of Linux 6.9 and later), which
// Debian 12's headers and libfuse do not know.
#pragma once

#include <cstddef>
#include <cstdint>

#include <linux/ioctl.h>

namespace mpoolfs::abi {

// Commands on the descriptor of /dev/fuse: register an open file, whose id (greater than 0) is the
// result; and unregister an id. CAP_SYS_ADMIN.
struct BackingMap {
  std::int32_t fd;
  std::uint32_t flags;
  std::uint64_t padding;
};
inline constexpr unsigned long kBackingOpen = _IOW(229, 1, BackingMap);
inline constexpr unsigned long kBackingClose = _IOW(229, 2, std::uint32_t);
static_assert(kBackingOpen == 0x4010E501 && kBackingClose == 0x4004E502);

// Bits of the INIT flags, 64 of them.
inline constexpr std::uint64_t kInitPassthrough = 1ull << 37;
// In fuse_init_out, 32 bits: the number of file systems that may be stacked below; 1 when backing
// files are not on stacked file systems.
inline constexpr std::size_t kMaxStackDepthOffset = 36;

// Bit of fuse_open_out::open_flags, and the offset of the backing id, 32 bits.
inline constexpr std::uint32_t kOpenPassthrough = 1u << 7;
inline constexpr std::size_t kBackingIdOffset = 12;

}  // namespace mpoolfs::abi

// FUSE-over-io_uring as the kernel has it (include/uapi/linux/fuse.h of Linux 6.14 and later),
// which Debian 12's headers do not know.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mpoolfs::abi {

// Commands of IORING_OP_URING_CMD on the descriptor of /dev/fuse.
inline constexpr std::uint32_t kCmdRegister = 1;
inline constexpr std::uint32_t kCmdCommitAndFetch = 2;

// A command has the addresses of the two parts of an entry as an iovec: headers, payload.
inline constexpr std::uint32_t kIovecSegments = 2;

struct RingEntInOut {
  std::uint64_t flags;
  std::uint64_t commit_id;
  std::uint32_t payload_size;
  std::uint32_t padding;
  std::uint64_t reserved;
};

// In: fuse_in_header, the request's own header. Out: fuse_out_header. The rest is in the payload.
struct RequestHeaders {
  std::byte in_out[128];
  std::byte op_in[128];
  RingEntInOut ring;
};
static_assert(sizeof(RequestHeaders) == 288);

// In the command area of a submission.
struct CommandRequest {
  std::uint64_t flags;
  std::uint64_t commit_id;
  std::uint16_t queue;
  std::uint8_t padding[6];
};
static_assert(sizeof(CommandRequest) == 24);

// Bits of the INIT flags, 64 of them.
inline constexpr std::uint64_t kInitOverIoUring = 1ull << 41;

}  // namespace mpoolfs::abi

// What libfuse 3.14 does not know of the answers to INIT, OPEN and CREATE is added here, and only
// here, on their way to the kernel (protocol: include/uapi/linux/fuse.h).
#pragma once

#include <cstdint>

#include "engine/base/bytes.h"

namespace mpoolfs {

// What a kernel may offer beside what libfuse knows.
struct Extensions {
  bool uring = false;        // FUSE-over-io_uring
  bool passthrough = false;  // backing files
  bool operator==(const Extensions&) const = default;
};

// Those of `wanted` that the kernel offers. `request`: a whole INIT request.
Extensions extensions_offered(mpool::ConstByteSpan request, Extensions wanted);

// The body of an answer without an error to a request of type `opcode`:
// - INIT: `taken` is agreed to. libfuse answers with 32 flags only.
// - OPEN, CREATE: what is not cached may be written by several threads at a time
//   (FOPEN_PARALLEL_DIRECT_WRITES); a file with a backing id (not 0) is the kernel's to serve.
// A body of another length than the protocol's is left alone.
void complete_reply(std::uint32_t opcode, mpool::ByteSpan body, Extensions taken,
                    std::uint32_t backing_id);

// Whether complete_reply() may change the answer to such a request.
bool needs_completion(std::uint32_t opcode);

}  // namespace mpoolfs

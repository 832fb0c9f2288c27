// What libfuse 3.14 does not know of the answers to INIT, OPEN and CREATE is added here, and only
// here, on their way to the kernel (protocol: include/uapi/linux/fuse.h).
#pragma once

#include <cstdint>

#include "engine/base/bytes.h"

namespace mpoolfs {

// The kernel's request offers FUSE-over-io_uring. `request`: a whole INIT request.
bool offers_uring(mpool::ConstByteSpan request);

// The body of an answer without an error to a request of type `opcode`:
// - INIT: FUSE-over-io_uring is taken when `uring` is set. libfuse answers with 32 flags only.
// - OPEN, CREATE: what is not cached may be written by several threads at a time
//   (FOPEN_PARALLEL_DIRECT_WRITES).
// A body of another length than the protocol's is left alone.
void complete_reply(std::uint32_t opcode, mpool::ByteSpan body, bool uring);

// Whether complete_reply() may change the answer to such a request.
bool needs_completion(std::uint32_t opcode);

}  // namespace mpoolfs

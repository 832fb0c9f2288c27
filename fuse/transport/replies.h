// What libfuse 3.14 does not know of requests, and of the answers to INIT, OPEN and CREATE, is
// adapted here, and only here (protocol: include/uapi/linux/fuse.h).
#pragma once

#include <cstdint>

#include "engine/base/bytes.h"

namespace mpoolfs {

// Features of a kernel that libfuse does not know.
struct Extensions {
  bool uring = false;        // FUSE-over-io_uring
  bool passthrough = false;  // backing files
  bool operator==(const Extensions&) const = default;
};

// The members of `wanted` that the kernel offers. `request`: a whole INIT request.
Extensions extensions_offered(mpool::ConstByteSpan request, Extensions wanted);

// Makes a request that libfuse does not know one that it knows: TMPFILE is a CREATE, in all but its
// opcode, whose name "/" no file can have. `message`: at least a fuse_in_header.
void adapt_request(mpool::ByteSpan message);

// Completes the body of an answer without an error to a request of type `opcode`:
// - INIT: accepts `taken`. libfuse answers with 32 flags only.
// - OPEN, CREATE: several threads may write uncached files at a time
//   (FOPEN_PARALLEL_DIRECT_WRITES); the kernel serves a file with a backing id (not 0).
// A body of another length than the protocol's is not changed.
void complete_reply(std::uint32_t opcode, mpool::ByteSpan body, Extensions taken,
                    std::uint32_t backing_id);

// True if complete_reply() may change the answer to such a request.
bool needs_completion(std::uint32_t opcode);

}  // namespace mpoolfs

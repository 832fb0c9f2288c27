#include "fuse/transport/replies.h"

#include <cstddef>
#include <cstring>

#include <linux/fuse.h>

#include "fuse/native/passthrough_abi.h"
#include "fuse/transport/uring_abi.h"

namespace mpoolfs {

namespace {

// flags2 of INIT are bits 32 to 63.
constexpr std::uint32_t kOverIoUring2 = abi::kInitOverIoUring >> 32;
constexpr std::uint32_t kPassthrough2 = abi::kInitPassthrough >> 32;
// Backing files are on a file system that is stacked on no other.
constexpr std::uint32_t kMaxStackDepth = 1;

void complete_open(mpool::ByteSpan body, std::uint32_t backing_id) {
  std::uint32_t flags = 0;
  const mpool::ByteSpan place = body.subspan(offsetof(fuse_open_out, open_flags), sizeof flags);
  std::memcpy(&flags, place.data(), sizeof flags);
  if ((flags & FOPEN_DIRECT_IO) != 0) flags |= FOPEN_PARALLEL_DIRECT_WRITES;
  if (backing_id != 0) {
    flags |= abi::kOpenPassthrough;
    std::memcpy(body.data() + abi::kBackingIdOffset, &backing_id, sizeof backing_id);
  }
  std::memcpy(place.data(), &flags, sizeof flags);
}

void complete_init(mpool::ByteSpan body, Extensions taken) {
  fuse_init_out init{};
  std::memcpy(&init, body.data(), sizeof init);
  if ((init.flags & FUSE_INIT_EXT) == 0) return;
  if (taken.uring) init.flags2 |= kOverIoUring2;
  if (taken.passthrough) init.flags2 |= kPassthrough2;
  std::memcpy(body.data(), &init, sizeof init);
  if (!taken.passthrough) return;
  std::memcpy(body.data() + abi::kMaxStackDepthOffset, &kMaxStackDepth, sizeof kMaxStackDepth);
}

}  // namespace

Extensions extensions_offered(mpool::ConstByteSpan request, Extensions wanted) {
  fuse_init_in init{};
  if (request.size() < sizeof(fuse_in_header) + sizeof init) return {};
  std::memcpy(&init, request.data() + sizeof(fuse_in_header), sizeof init);
  if ((init.flags & FUSE_INIT_EXT) == 0) return {};
  return {.uring = wanted.uring && (init.flags2 & kOverIoUring2) != 0,
          .passthrough = wanted.passthrough && (init.flags2 & kPassthrough2) != 0};
}

void adapt_request(mpool::ByteSpan message) {
  std::uint32_t opcode = 0;
  const mpool::ByteSpan place = message.subspan(offsetof(fuse_in_header, opcode), sizeof opcode);
  std::memcpy(&opcode, place.data(), sizeof opcode);
  if (opcode != FUSE_TMPFILE) return;
  opcode = FUSE_CREATE;
  std::memcpy(place.data(), &opcode, sizeof opcode);
}

bool needs_completion(std::uint32_t opcode) {
  return opcode == FUSE_INIT || opcode == FUSE_OPEN || opcode == FUSE_CREATE ||
         opcode == FUSE_TMPFILE;
}

void complete_reply(std::uint32_t opcode, mpool::ByteSpan body, Extensions taken,
                    std::uint32_t backing_id) {
  constexpr std::size_t kCreated = sizeof(fuse_entry_out) + sizeof(fuse_open_out);
  if (opcode == FUSE_INIT && body.size() == sizeof(fuse_init_out)) {
    complete_init(body, taken);
  } else if (opcode == FUSE_OPEN && body.size() == sizeof(fuse_open_out)) {
    complete_open(body, backing_id);
  } else if ((opcode == FUSE_CREATE || opcode == FUSE_TMPFILE) && body.size() == kCreated) {
    complete_open(body.subspan(sizeof(fuse_entry_out)), backing_id);
  }
}

}  // namespace mpoolfs

#include "fuse/transport/replies.h"

#include <array>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>
#include <linux/fuse.h>

namespace mpoolfs {
namespace {

constexpr std::uint32_t kUringBit = 1u << 9;        // bit 41 of the flags
constexpr std::uint32_t kPassthroughBit = 1u << 5;  // bit 37
constexpr Extensions kNone;
constexpr Extensions kUring{.uring = true, .passthrough = false};
constexpr Extensions kPassthrough{.uring = false, .passthrough = true};
constexpr Extensions kBoth{.uring = true, .passthrough = true};

template <typename T>
mpool::ByteSpan bytes_of(T& object) {
  return {reinterpret_cast<std::byte*>(&object), sizeof object};
}

struct InitRequest {
  fuse_in_header header{};
  fuse_init_in init{};
};

TEST(Replies, InitTakesUringWhenWanted) {
  fuse_init_out init{};
  init.flags = FUSE_INIT_EXT | FUSE_ASYNC_READ;
  complete_reply(FUSE_INIT, bytes_of(init), kUring, 0);
  EXPECT_EQ(init.flags2, kUringBit);
  EXPECT_EQ(init.flags, FUSE_INIT_EXT | FUSE_ASYNC_READ);
}

TEST(Replies, InitIsLeftAloneOtherwise) {
  fuse_init_out init{};
  init.flags = FUSE_INIT_EXT;
  complete_reply(FUSE_INIT, bytes_of(init), kNone, 0);
  EXPECT_EQ(init.flags2, 0u);
  // Without FUSE_INIT_EXT the kernel ignores the upper half.
  init.flags = 0;
  complete_reply(FUSE_INIT, bytes_of(init), kUring, 0);
  EXPECT_EQ(init.flags2, 0u);
}

TEST(Replies, InitTakesPassthroughWhenWanted) {
  fuse_init_out init{};
  init.flags = FUSE_INIT_EXT;
  complete_reply(FUSE_INIT, bytes_of(init), kPassthrough, 0);
  EXPECT_EQ(init.flags2, kPassthroughBit);
  EXPECT_EQ(init.unused[0], 1u);  // max_stack_depth
  complete_reply(FUSE_INIT, bytes_of(init), kBoth, 0);
  EXPECT_EQ(init.flags2, kPassthroughBit | kUringBit);
}

TEST(Replies, WhatTheKernelOffers) {
  InitRequest request;
  EXPECT_EQ(extensions_offered(bytes_of(request), kBoth), kNone);
  request.init.flags2 = kUringBit;
  EXPECT_EQ(extensions_offered(bytes_of(request), kBoth), kNone);
  request.init.flags = FUSE_INIT_EXT;
  EXPECT_EQ(extensions_offered(bytes_of(request), kBoth), kUring);
  EXPECT_EQ(extensions_offered(bytes_of(request), kPassthrough), kNone);
  EXPECT_EQ(extensions_offered(bytes_of(request).first(sizeof request - 1), kBoth), kNone);
  request.init.flags2 |= kPassthroughBit;
  EXPECT_EQ(extensions_offered(bytes_of(request), kBoth), kBoth);
  EXPECT_EQ(extensions_offered(bytes_of(request), kPassthrough), kPassthrough);
}

TEST(Replies, ABackingFile) {
  fuse_open_out open{};
  open.fh = 7;
  complete_reply(FUSE_OPEN, bytes_of(open), kNone, 12);
  EXPECT_EQ(open.open_flags, 1u << 7);
  EXPECT_EQ(open.padding, 12u);  // backing_id
  EXPECT_EQ(open.fh, 7u);
}

TEST(Replies, FilesThatAreNotCachedAreWrittenInParallel) {
  fuse_open_out open{};
  open.fh = 7;
  open.open_flags = FOPEN_DIRECT_IO;
  complete_reply(FUSE_OPEN, bytes_of(open), kNone, 0);
  EXPECT_EQ(open.open_flags, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES);
  EXPECT_EQ(open.fh, 7u);
}

TEST(Replies, CachedFilesAreNot) {
  fuse_open_out open{};
  open.open_flags = FOPEN_KEEP_CACHE;
  complete_reply(FUSE_OPEN, bytes_of(open), kNone, 0);
  EXPECT_EQ(open.open_flags, FOPEN_KEEP_CACHE);
}

TEST(Replies, CreateHasAnEntryFirst) {
  struct {
    fuse_entry_out entry{};
    fuse_open_out open{};
  } created;
  std::memset(&created.entry, 0x5a, sizeof created.entry);
  const fuse_entry_out before = created.entry;
  created.open.open_flags = FOPEN_DIRECT_IO;
  complete_reply(FUSE_CREATE, bytes_of(created), kNone, 0);
  EXPECT_EQ(created.open.open_flags, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES);
  EXPECT_EQ(std::memcmp(&before, &created.entry, sizeof before), 0);
}

TEST(Replies, TmpfileIsACreateForTheLibrary) {
  fuse_in_header header{};
  header.opcode = FUSE_TMPFILE;
  header.unique = 5;
  adapt_request(bytes_of(header));
  EXPECT_EQ(header.opcode, static_cast<std::uint32_t>(FUSE_CREATE));
  EXPECT_EQ(header.unique, 5u);
  header.opcode = FUSE_MKDIR;
  adapt_request(bytes_of(header));
  EXPECT_EQ(header.opcode, static_cast<std::uint32_t>(FUSE_MKDIR));
  EXPECT_TRUE(needs_completion(FUSE_TMPFILE));
}

TEST(Replies, OtherLengthsAndOtherRequestsAreLeftAlone) {
  std::vector<std::byte> body(sizeof(fuse_open_out) + 1, std::byte{0xff});
  const std::vector<std::byte> before = body;
  complete_reply(FUSE_OPEN, body, kBoth, 7);
  complete_reply(FUSE_INIT, body, kBoth, 7);
  complete_reply(FUSE_GETATTR, body, kBoth, 7);
  EXPECT_EQ(body, before);
  EXPECT_TRUE(needs_completion(FUSE_INIT));
  EXPECT_TRUE(needs_completion(FUSE_OPEN));
  EXPECT_TRUE(needs_completion(FUSE_CREATE));
  EXPECT_FALSE(needs_completion(FUSE_READ));
  EXPECT_FALSE(needs_completion(FUSE_LOOKUP));
}

}  // namespace
}  // namespace mpoolfs

#include "fuse/transport/replies.h"

#include <array>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>
#include <linux/fuse.h>

namespace mpoolfs {
namespace {

constexpr std::uint32_t kUringBit = 1u << 9;  // bit 41 of the flags

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
  complete_reply(FUSE_INIT, bytes_of(init), true);
  EXPECT_EQ(init.flags2, kUringBit);
  EXPECT_EQ(init.flags, FUSE_INIT_EXT | FUSE_ASYNC_READ);
}

TEST(Replies, InitIsLeftAloneOtherwise) {
  fuse_init_out init{};
  init.flags = FUSE_INIT_EXT;
  complete_reply(FUSE_INIT, bytes_of(init), false);
  EXPECT_EQ(init.flags2, 0u);
  // Without FUSE_INIT_EXT the kernel does not look at the upper half.
  init.flags = 0;
  complete_reply(FUSE_INIT, bytes_of(init), true);
  EXPECT_EQ(init.flags2, 0u);
}

TEST(Replies, WhatTheKernelOffers) {
  InitRequest request;
  EXPECT_FALSE(offers_uring(bytes_of(request)));
  request.init.flags2 = kUringBit;
  EXPECT_FALSE(offers_uring(bytes_of(request)));
  request.init.flags = FUSE_INIT_EXT;
  EXPECT_TRUE(offers_uring(bytes_of(request)));
  EXPECT_FALSE(offers_uring(bytes_of(request).first(sizeof request - 1)));
}

TEST(Replies, FilesThatAreNotCachedAreWrittenInParallel) {
  fuse_open_out open{};
  open.fh = 7;
  open.open_flags = FOPEN_DIRECT_IO;
  complete_reply(FUSE_OPEN, bytes_of(open), false);
  EXPECT_EQ(open.open_flags, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES);
  EXPECT_EQ(open.fh, 7u);
}

TEST(Replies, CachedFilesAreNot) {
  fuse_open_out open{};
  open.open_flags = FOPEN_KEEP_CACHE;
  complete_reply(FUSE_OPEN, bytes_of(open), false);
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
  complete_reply(FUSE_CREATE, bytes_of(created), false);
  EXPECT_EQ(created.open.open_flags, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES);
  EXPECT_EQ(std::memcmp(&before, &created.entry, sizeof before), 0);
}

TEST(Replies, OtherLengthsAndOtherRequestsAreLeftAlone) {
  std::vector<std::byte> body(sizeof(fuse_open_out) + 1, std::byte{0xff});
  const std::vector<std::byte> before = body;
  complete_reply(FUSE_OPEN, body, true);
  complete_reply(FUSE_INIT, body, true);
  complete_reply(FUSE_GETATTR, body, true);
  EXPECT_EQ(body, before);
  EXPECT_TRUE(needs_completion(FUSE_INIT));
  EXPECT_TRUE(needs_completion(FUSE_OPEN));
  EXPECT_TRUE(needs_completion(FUSE_CREATE));
  EXPECT_FALSE(needs_completion(FUSE_READ));
  EXPECT_FALSE(needs_completion(FUSE_LOOKUP));
}

}  // namespace
}  // namespace mpoolfs

// The room that statfs(2) and the status show.
#pragma once

#include <cstdint>

namespace mpool {

struct SpaceStats {
  std::uint64_t block_size = 0;  // bytes: the zone size of the class
  std::uint64_t blocks = 0, free = 0, available = 0;
  std::uint64_t files = 0;            // inodes
  std::uint64_t available_files = 0;  // further inodes that users can create and give content
};

// The packs of small files.
struct PackStats {
  std::uint64_t packs = 0;
  std::uint64_t files = 0;     // pieces of content in them
  std::uint64_t capacity = 0;  // bytes
  std::uint64_t live = 0;      // bytes of content; the rest is free, garbage, or headers
};

// Usage of the root MDC. In bytes.
struct MetadataStats {
  std::uint64_t capacity = 0;
  std::uint64_t used = 0;               // in its active log, garbage included
  std::uint64_t live = 0;               // of it, approximate bytes that the tree needs
  std::uint64_t possible_capacity = 0;  // limit of growth with the present free space
};

}  // namespace mpool

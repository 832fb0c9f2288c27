// Bytes that a tree takes in a compacted root MDC (engine/tree/records.md, "Room"). Pure,
// thread-safe.
#pragma once

#include <cstdint>

#include "engine/tree/tree.h"

namespace mpool::names {

// Bytes of a log that a record takes: a descriptor of 8 bytes for each block it touches, and the
// share of the blocks' headers (40 bytes of 512).
constexpr std::uint64_t bytes_in_log(std::uint64_t record_size) {
  constexpr std::uint64_t kDescriptor = 8;
  return (record_size + kDescriptor) * 9 / 8;
}

// The bytes of an inode without its names: CREATE and the records that belong to it, extents
// included.
std::uint64_t footprint_of(const Inode& inode);
std::uint64_t footprint_of_extents(std::size_t count);
std::uint64_t footprint_of_xattr(std::size_t name_length, std::size_t value_length);
// The bytes of each name; and the additional bytes of each name of a file after the first.
std::uint64_t footprint_of_name(std::size_t length);
std::uint64_t footprint_of_link();
// The bytes of a pack.
std::uint64_t footprint_of_pack();

}  // namespace mpool::names

// Where the content of a file lies on the devices.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/pool/pool.h"
#include "engine/tree/attributes.h"

namespace mpool {

// The location of the content of a committed write-once file.
struct FileLayout {
  struct Piece {
    std::uint64_t file_offset = 0;  // bytes
    std::uint64_t length = 0;       // bytes
    MediaClass media_class = MediaClass::capacity;
    std::uint64_t device_offset = 0;  // bytes on the device of the class
  };
  InodeNumber inode = 0;
  std::uint64_t size = 0;     // bytes
  std::vector<Piece> pieces;  // in order of file_offset, not overlapping; gaps are zeros
};

}  // namespace mpool

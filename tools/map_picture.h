// The picture of `mpool map show`: which parts of a map are in memory.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <vector>

#include "tools/map_session.h"

namespace mpool::tools {

// Blocks, shaded by the share that is in memory, in Unicode or in ASCII.
enum class PictureStyle { unicode, ascii };

// Rows of the picture, each one member or, of a map with very many, several.
struct PictureLayout {
  std::uint64_t members_per_row = 1;
  std::uint64_t columns = 1;  // a power of two
  std::uint64_t step = 0;     // bytes of a column: whole pages
};
// For a terminal of `width` columns.
PictureLayout layout_picture(const MapFacts& map, unsigned width);

// cells: MapSession::residency() for the step.
void draw_picture(std::ostream& out, const MapFacts& map,
                  const std::vector<MapSession::Member>& members,
                  const std::vector<std::uint32_t>& cells, const PictureLayout& layout,
                  PictureStyle style);

}  // namespace mpool::tools

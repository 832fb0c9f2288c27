#include "tools/map_picture.h"

#include <algorithm>
#include <array>
#include <bit>
#include <ostream>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ostream.h>

#include "engine/base/aligned_buffer.h"
#include "engine/base/bytes.h"
#include "engine/base/size.h"

namespace mpool::tools {

namespace {

constexpr std::uint64_t kMaxRows = 64;
// Columns before and behind the blocks.
constexpr unsigned kLabelWidth = 44;
constexpr std::uint64_t kMaxColumns = 128;

// By the share in memory: none, up to a quarter, half, less than all, all; and not written.
constexpr std::size_t kShades = 5;
constexpr std::size_t kNotWritten = kShades;
using Shades = std::array<std::string_view, kShades + 1>;
constexpr Shades kUnicodeShades{"·", "░", "▒", "▓", "█", " "};
constexpr Shades kAsciiShades{".", "-", "+", "x", "#", " "};

std::size_t shade_of(std::uint64_t resident, std::uint64_t total) {
  if (total == 0) return kNotWritten;
  if (resident == 0) return 0;
  if (resident >= total) return 4;
  if (resident * 4 <= total) return 1;
  return resident * 2 <= total ? 2 : 3;
}

struct Pages {
  std::uint64_t resident = 0;
  std::uint64_t total = 0;  // with content

  std::string percent() const {
    const std::uint64_t share = total == 0 ? 0 : std::min(resident, total) * 100 / total;
    return share == 0 && resident != 0 ? "<1%" : fmt::format("{}%", share);
  }
};

// The pages of content in a column of a member.
std::uint64_t written_pages(std::uint64_t length, std::uint64_t column, std::uint64_t step) {
  const std::uint64_t begin = column * step;
  return begin >= length ? 0 : ceil_div(std::min(length - begin, step), kPageSize);
}

}  // namespace

PictureLayout layout_picture(const MapFacts& map, unsigned width) {
  const std::uint64_t room = width > kLabelWidth + 8 ? width - kLabelWidth : 8;
  const std::uint64_t columns =
      std::min({std::bit_floor(room), kMaxColumns, map.stride / kPageSize});
  return {.members_per_row = ceil_div(map.members, kMaxRows),
          .columns = columns,
          .step = map.stride / columns};
}

void draw_picture(std::ostream& out, const MapFacts& map,
                  const std::vector<MapSession::Member>& members,
                  const std::vector<std::uint32_t>& cells, const PictureLayout& layout,
                  PictureStyle style) {
  const Shades& shades = style == PictureStyle::unicode ? kUnicodeShades : kAsciiShades;
  Pages all;
  const bool joined = layout.members_per_row != 1;
  fmt::print(out, "{:<21} {:>9} |{:{}}| IN MEMORY\n", joined ? "MEMBERS" : "MEMBER ID", "CONTENT",
             "", layout.columns);
  for (std::size_t first = 0; first < members.size(); first += layout.members_per_row) {
    const std::size_t end = std::min<std::size_t>(first + layout.members_per_row, members.size());
    Pages row;
    std::uint64_t length = 0;
    std::string blocks;
    for (std::uint64_t column = 0; column < layout.columns; ++column) {
      Pages cell;
      for (std::size_t member = first; member < end; ++member) {
        cell.resident += cells.at(member * layout.columns + column);
        cell.total += written_pages(members[member].length, column, layout.step);
      }
      cell.resident = std::min(cell.resident, cell.total);  // zeros behind the content
      blocks += shades[shade_of(cell.resident, cell.total)];
      row.resident += cell.resident;
      row.total += cell.total;
    }
    for (std::size_t member = first; member < end; ++member)
      length += members[member].length;
    const std::string label =
        joined ? fmt::format("{:>6} to {:<11}", first, end - 1)
               : fmt::format("{:>6} {:<14}", first, members[first].id.to_string());
    fmt::print(out, "{} {:>9} |{}| {:>4}\n", label, format_size(length), blocks, row.percent());
    all.resident += row.resident;
    all.total += row.total;
  }
  fmt::print(out, "\nIn memory: {} none  {} up to 1/4  {} up to 1/2  {} more  {} all", shades[0],
             shades[1], shades[2], shades[3], shades[4]);
  fmt::print(out, "; a block is {}\n", format_size(layout.step * layout.members_per_row));
  fmt::print(out, "Total:     {} of {} pages, {} of {} ({})\n", all.resident, all.total,
             format_size(all.resident * kPageSize), format_size(all.total * kPageSize),
             all.percent());
  fmt::print(out, "Advice:    {}; {}\n", to_string(map.advice),
             map.native ? "the kernel reads it by itself" : "the daemon serves it");
}

}  // namespace mpool::tools

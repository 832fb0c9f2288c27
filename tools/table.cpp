#include "tools/table.h"

#include <algorithm>
#include <cassert>
#include <ostream>

#include <fmt/format.h>
#include <fmt/ostream.h>

namespace mpool::tools {

void Table::print(std::ostream& out) const {
  std::vector<std::size_t> widths(rows_.front().size(), 0);
  for (const auto& row : rows_) {
    assert(row.size() == widths.size());
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i) {
      fmt::print(out, "{:<{}}  ", row[i], widths[i]);
    }
    fmt::print(out, "{}\n", row.back());
  }
}

}  // namespace mpool::tools

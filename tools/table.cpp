#include "tools/table.h"

#include <algorithm>
#include <cassert>
#include <ostream>
#include <utility>

#include "tools/print.h"

namespace mpool::tools {

void Table::add(std::vector<std::string> row) {
  for (std::string& cell : row)
    cell = printable(cell);
  rows_.push_back(std::move(row));
}

void Table::print(std::ostream& out) const {
  std::vector<std::size_t> widths(rows_.front().size(), 0);
  for (const auto& row : rows_) {
    assert(row.size() == widths.size());
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i) {
      print_escaped(out, "{:<{}}  ", row[i], widths[i]);
    }
    print_escaped(out, "{}\n", row.back());
  }
}

}  // namespace mpool::tools

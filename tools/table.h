// Tables of text for people.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace mpool::tools {

// Rows of cells, printed in columns as wide as their widest cell, two spaces between them.
class Table {
 public:
  explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  // As many cells as the header has; each is made printable (engine/base/printable.h).
  void add(std::vector<std::string> row);
  void print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace mpool::tools

#include "engine/pool/path_list.h"

#include <utility>

namespace mpool {

namespace {

bool is_special(char character) {
  return character == ',' || character == '\\';
}

}  // namespace

std::string join_paths(std::span<const std::string> paths) {
  std::string joined;
  for (const std::string& path : paths) {
    if (!joined.empty()) joined += ',';
    for (const char character : path) {
      if (is_special(character)) joined += '\\';
      joined += character;
    }
  }
  return joined;
}

std::vector<std::string> split_paths(std::string_view joined) {
  std::vector<std::string> paths;
  std::string path;
  const auto end_path = [&] {
    if (!path.empty()) paths.push_back(std::move(path));
    path.clear();
  };
  for (std::size_t i = 0; i < joined.size(); ++i) {
    if (joined[i] == ',') {
      end_path();
      continue;
    }
    if (joined[i] == '\\' && i + 1 < joined.size() && is_special(joined[i + 1])) ++i;
    path += joined[i];
  }
  end_path();
  return paths;
}

}  // namespace mpool

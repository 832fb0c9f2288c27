#include "engine/tree/policy.h"

#include <algorithm>
#include <string>

#include <fnmatch.h>

namespace mpool::names {

std::string stored_xattr(const Inode& inode, std::string_view name) {
  if (!inode.xattrs) return {};
  const auto found = inode.xattrs->find(std::string(name));
  return found == inode.xattrs->end() ? std::string() : found->second;
}

Choice choose(std::string_view rules, std::string_view name) {
  const std::string text(name);
  while (!rules.empty()) {
    const std::size_t end = std::min(rules.find(' '), rules.size());
    const std::string_view rule = rules.substr(0, end);
    rules.remove_prefix(std::min(end + 1, rules.size()));
    const std::size_t equals = rule.rfind('=');
    if (equals == std::string_view::npos) continue;
    if (fnmatch(std::string(rule.substr(0, equals)).c_str(), text.c_str(), 0) != 0) continue;
    return rule.substr(equals + 1) == "mlog" ? Choice::mlog : Choice::mblock;
  }
  return Choice::none;
}

}  // namespace mpool::names

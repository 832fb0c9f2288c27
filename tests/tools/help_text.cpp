#include "tests/tools/help_text.h"

#include <regex>
#include <set>
#include <sstream>

namespace mpool::tools {

namespace {

// Boost.Program_options explains an option on a line that begins with two spaces and the option.
bool explains_an_option(const std::string& line) {
  return line.starts_with("  -");
}

// The first column of a line: the text before a gap of two spaces.
std::string first_column(const std::string& line) {
  return line.substr(2, line.find("  ", 2) - 2);
}

std::vector<std::string> matches(const std::string& text, const std::regex& pattern) {
  std::vector<std::string> result;
  for (std::sregex_iterator match(text.begin(), text.end(), pattern), end; match != end; ++match) {
    result.push_back(match->str(1));
  }
  return result;
}

}  // namespace

std::vector<std::string> dashed_options(const std::string& help) {
  static const std::regex kOption(R"((?:^|[ \[])(--?[A-Za-z][A-Za-z-]*))");
  std::set<std::string> found;
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) {
    if (!explains_an_option(line)) continue;
    for (auto& option : matches(first_column(line), kOption))
      found.insert(std::move(option));
  }
  return {found.begin(), found.end()};
}

std::vector<std::string> long_options(const std::string& help) {
  std::vector<std::string> result = dashed_options(help);
  std::erase_if(result, [](const std::string& option) { return !option.starts_with("--"); });
  return result;
}

std::vector<std::string> mount_options(const std::string& help) {
  static const std::regex kWord(R"(([a-z_]+)(?:=[A-Za-z|]+)?)");
  std::set<std::string> found;
  const std::size_t start = help.find("Mount options");
  if (start == std::string::npos) return {};
  std::istringstream lines(help.substr(start));
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    if (line.size() < 3 || line.compare(0, 2, "  ") != 0 || line[2] == ' ') continue;
    for (auto& option : matches(first_column(line), kWord))
      found.insert(std::move(option));
  }
  return {found.begin(), found.end()};
}

}  // namespace mpool::tools

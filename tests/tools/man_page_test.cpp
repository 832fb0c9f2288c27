// --help and the manual pages name the same options.
#include <algorithm>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/cache/reaper_settings.h"
#include "tests/tools/help_text.h"
#include "tests/tools/support.h"
#include "tools/commands.h"

namespace mpool::tools {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;

// The lines of a page's section, from the heading that begins with `heading` to the next heading.
std::vector<std::string> section(const std::string& page, const std::string& heading) {
  std::ifstream file(std::string(MPOOLFS_SOURCE_ROOT "/man/") + page + ".8.scd");
  EXPECT_TRUE(file) << page;
  std::vector<std::string> lines;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) {
      inside = line == heading || line.starts_with(heading + " ");
    } else if (inside) {
      lines.push_back(line);
    }
  }
  EXPECT_THAT(lines, Not(IsEmpty())) << page << ": " << heading;
  return lines;
}

// The words in bold at the beginning of lines of a section: the options that it explains. Sorted.
std::vector<std::string> explained(const std::string& page, const std::string& heading) {
  static const std::regex kBold(R"(\*([^* ]+)\*)");
  std::set<std::string> found;
  for (const std::string& line : section(page, heading)) {
    if (!line.starts_with('*')) continue;
    for (std::sregex_iterator match(line.begin(), line.end(), kBold), end; match != end; ++match) {
      found.insert(match->str(1));
    }
  }
  return {found.begin(), found.end()};
}

TEST(ManPage, OfMpoolNamesItsOptions) {
  EXPECT_EQ(explained("mpool", "# OPTIONS"), dashed_options(mpool_command({"--help"}).out));
}

TEST(ManPage, OfMpoolNamesTheOptionsOfEverySubCommand) {
  for (const SubCommand& command : sub_commands()) {
    const std::string name(command.name);
    const auto options = dashed_options(mpool_command({name, "--help"}).out);
    EXPECT_THAT(options, Not(IsEmpty()));
    EXPECT_EQ(explained("mpool", "## mpool " + name), options) << name;
  }
}

TEST(ManPage, OfMpoolNamesNoSubCommandThatDoesNotExist) {
  std::ifstream file(MPOOLFS_SOURCE_ROOT "/man/mpool.8.scd");
  std::set<std::string> documented;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string mark, program, name;
    if (words >> mark >> program >> name && mark == "##" && program == "mpool") {
      documented.insert(name);
    }
  }
  std::set<std::string> existing;
  for (const SubCommand& command : sub_commands())
    existing.emplace(command.name);
  EXPECT_EQ(documented, existing);
}

TEST(ManPage, OfMpoolfsNamesItsOptions) {
  const auto options = dashed_options(shell(MPOOLFS_DAEMON " --help"));
  EXPECT_THAT(options, Not(IsEmpty()));
  EXPECT_EQ(explained("mpoolfs", "# OPTIONS"), options);
}

TEST(ManPage, OfMpoolfsNamesItsMountOptions) {
  const auto options = mount_options(shell(MPOOLFS_DAEMON " --help"));
  EXPECT_THAT(options, Not(IsEmpty()));
  // Options accepted for the sake of /etc/fstab only are explained, too.
  const auto documented = explained("mpoolfs", "# MOUNT OPTIONS");
  EXPECT_TRUE(std::ranges::includes(documented, options)) << testing::PrintToString(documented);
}

// A row of the table: its first cell begins with '|', the others with ':'.
TEST(ManPage, OfMpoolfsListsTheTunablesWithUnitAndDefault) {
  std::vector<std::vector<std::string>> rows;
  for (const std::string& line : section("mpoolfs", "# TUNABLES")) {
    if (line.starts_with("|  _")) rows.emplace_back();
    if (rows.empty() || (line[0] != '|' && line[0] != ':')) continue;
    rows.back().push_back(line.size() > 3 ? line.substr(3) : "");
  }
  ASSERT_EQ(rows.size(), reaper_tunables().size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const ReaperTunable& tunable = reaper_tunables()[i];
    ASSERT_EQ(rows[i].size(), 4u);
    EXPECT_EQ(rows[i][0], "_" + std::string(tunable.name) + "_");
    EXPECT_EQ(rows[i][1], tunable.unit);
    EXPECT_EQ(rows[i][2], tunable.fallback);
    EXPECT_FALSE(rows[i][3].empty());
  }
}

}  // namespace
}  // namespace mpool::tools

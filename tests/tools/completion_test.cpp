// The bash completion, sourced by bash.
#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tools/help_text.h"
#include "tests/tools/support.h"
#include "tools/commands.h"

namespace mpool::tools {
namespace {

using ::testing::ElementsAre;

// The completions of bash for the last of `words`. compopt works in a running completion only.
std::vector<std::string> completions(const std::vector<std::string>& words) {
  std::string line = "bash -c 'compopt() { :; }; . " MPOOLFS_SOURCE_ROOT "/tools/completion/" +
                     words.front() + "; COMP_WORDS=(";
  for (const std::string& word : words)
    line += " \"" + word + "\"";
  line += "); COMP_CWORD=" + std::to_string(words.size() - 1) + "; _" + words.front() +
          "; printf \"%s\\n\" \"${COMPREPLY[@]}\"'";
  std::istringstream output(shell(line));
  std::vector<std::string> result;
  for (std::string word; std::getline(output, word);) {
    if (!word.empty()) result.push_back(word);
  }
  std::ranges::sort(result);
  return result;
}

TEST(Completion, OffersEverySubCommand) {
  std::vector<std::string> wanted{"--help", "--version"};
  for (const SubCommand& command : sub_commands())
    wanted.emplace_back(command.name);
  std::ranges::sort(wanted);
  EXPECT_EQ(completions({"mpool", ""}), wanted);
  EXPECT_THAT(completions({"mpool", "de"}), ElementsAre("deactivate", "destroy"));
}

TEST(Completion, OffersTheOptionsOfEverySubCommand) {
  for (const SubCommand& command : sub_commands()) {
    const std::string name(command.name);
    EXPECT_EQ(completions({"mpool", name, "--"}), long_options(mpool_command({name, "--help"}).out))
        << name;
  }
}

TEST(Completion, OffersFilesAsDevices) {
  const test::TemporaryDirectory directory;
  const std::string image = directory / "image";
  make_empty_file(image, 1);
  EXPECT_THAT(completions({"mpool", "create", "name", directory / "im"}), ElementsAre(image));
  EXPECT_THAT(completions({"mpool", "create", "--staging", directory / "im"}), ElementsAre(image));
  EXPECT_THAT(completions({"mpool", "dump", directory / "im"}), ElementsAre(image));
  EXPECT_THAT(completions({"mpoolfs", directory / "im"}), ElementsAre(image));
}

TEST(Completion, OffersNothingForSizes) {
  EXPECT_THAT(completions({"mpool", "create", "--size", ""}), ElementsAre());
}

TEST(Completion, OffersTheDaemonsOptions) {
  EXPECT_EQ(completions({"mpoolfs", "-"}), dashed_options(shell(MPOOLFS_DAEMON " --help")));
  std::vector<std::string> offered = completions({"mpoolfs", "-o", ""});
  for (std::string& option : offered)
    std::erase(option, '=');
  EXPECT_EQ(offered, mount_options(shell(MPOOLFS_DAEMON " --help")));
  EXPECT_THAT(completions({"mpoolfs", "-o", "ro,sy"}), ElementsAre("ro,sync"));
  EXPECT_THAT(completions({"mpoolfs", "-o", "ro,transport", "="}),
              ElementsAre("auto", "dev", "uring"));
  EXPECT_THAT(completions({"mpoolfs", "-o", "transport", "=", "u"}), ElementsAre("uring"));
}

}  // namespace
}  // namespace mpool::tools

// The handling of the command line by every sub-command.
#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tools/support.h"
#include "tools/commands.h"

namespace mpool::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Mpool, HelpNamesEverySubCommand) {
  const Result result = mpool_command({"--help"});
  EXPECT_EQ(result.status, kSuccess);
  EXPECT_EQ(result.err, "");
  for (const SubCommand& command : sub_commands()) {
    EXPECT_THAT(result.out, HasSubstr("  " + std::string(command.name) + " "));
  }
  EXPECT_EQ(mpool_command({"-h"}).out, result.out);
}

TEST(Mpool, ShowsItsVersion) {
  const Result result = mpool_command({"--version"});
  EXPECT_EQ(result.status, kSuccess);
  EXPECT_EQ(result.out, "mpool " MPOOLFS_VERSION "\n");
  EXPECT_EQ(mpool_command({"-V"}).out, result.out);
}

TEST(Mpool, RefusesAnUnknownOrMissingSubCommand) {
  const Result unknown = mpool_command({"frobnicate"});
  EXPECT_EQ(unknown.status, kUsage);
  EXPECT_THAT(unknown.err, StartsWith("mpool: no sub-command or option \"frobnicate\""));
  const Result missing = mpool_command({});
  EXPECT_EQ(missing.status, kUsage);
  EXPECT_THAT(missing.err, StartsWith("mpool: missing sub-command"));
}

class EverySubCommand : public ::testing::TestWithParam<std::string> {
 protected:
  // Its exit status for a wrong command line.
  static int usage() {
    return std::ranges::find(sub_commands(), GetParam(), &SubCommand::name)->usage;
  }
};

TEST_P(EverySubCommand, HasHelp) {
  const Result result = mpool_command({GetParam(), "--help"});
  EXPECT_EQ(result.status, kSuccess);
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(result.out, StartsWith("Usage: mpool " + GetParam() + " [OPTIONS]"));
  EXPECT_EQ(mpool_command({GetParam(), "-h"}).out, result.out);
}

TEST_P(EverySubCommand, RefusesAnUnknownOption) {
  const Result result = mpool_command({GetParam(), "--no-such-option"});
  EXPECT_EQ(result.status, usage());
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, StartsWith("mpool " + GetParam() + ": "));
  EXPECT_THAT(result.err, HasSubstr("--no-such-option"));
}

TEST_P(EverySubCommand, TakesNoAbbreviatedOption) {
  EXPECT_EQ(mpool_command({GetParam(), "--hel"}).status, usage());
}

TEST_P(EverySubCommand, RefusesAnEmptyArgument) {
  EXPECT_EQ(mpool_command({GetParam(), ""}).status, usage());
}

TEST_P(EverySubCommand, WantsItsArguments) {
  if (GetParam() == "list" || GetParam() == "df") return;  // have only optional ones
  const Result result = mpool_command({GetParam()});
  EXPECT_EQ(result.status, usage());
  EXPECT_THAT(result.err, StartsWith("mpool " + GetParam() + ": missing argument: "));
}

std::vector<std::string> names() {
  std::vector<std::string> result;
  for (const SubCommand& command : sub_commands())
    result.emplace_back(command.name);
  return result;
}
INSTANTIATE_TEST_SUITE_P(Mpool, EverySubCommand, ::testing::ValuesIn(names()),
                         [](const auto& test) { return test.param; });

TEST(Create, RefusesTooManyArguments) {
  const Result result = mpool_command({"create", "name", "dev", "surplus"});
  EXPECT_EQ(result.status, kUsage);
  EXPECT_THAT(result.err, HasSubstr("unexpected argument \"surplus\""));
}

TEST(Create, RefusesTooFewArguments) {
  const Result result = mpool_command({"create", "name"});
  EXPECT_EQ(result.status, kUsage);
  EXPECT_THAT(result.err, HasSubstr("wanted are NAME DEV"));
}

struct BadValue {
  std::string option;
  std::string value;
};
class BadCreateValue : public ::testing::TestWithParam<BadValue> {};

TEST_P(BadCreateValue, IsRefusedBeforeAnythingIsTouched) {
  const test::TemporaryDirectory directory;
  const auto& [option, value] = GetParam();
  std::vector<std::string> arguments{"create", "--" + option, value, "name", directory / "image"};
  if (option != "size") arguments.insert(arguments.end(), {"--size", "128M"});
  const Result result = mpool_command(arguments);
  EXPECT_EQ(result.status, kUsage);
  EXPECT_THAT(result.err, StartsWith("mpool create: --" + option));
  EXPECT_FALSE(std::filesystem::exists(directory / "image"));
}

INSTANTIATE_TEST_SUITE_P(
    Create, BadCreateValue,
    ::testing::Values(BadValue{"size", "12Q"}, BadValue{"size", "0"}, BadValue{"size", "-1"},
                      BadValue{"size", "99999999999999999999"}, BadValue{"zone-size", "big"},
                      BadValue{"staging-size", "1G"},  // without --staging
                      BadValue{"mdc-count", "0"}, BadValue{"mdc-count", "256"},
                      BadValue{"mdc-count", "4x"}, BadValue{"spare", "101"},
                      BadValue{"spare", "-1"}, BadValue{"label", std::string(64, 'x')}));

}  // namespace
}  // namespace mpool::tools

// Names with terminal control sequences are made harmless in any output.
#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tools/support.h"
#include "tools/commands.h"

namespace mpool::tools {
namespace {

using ::testing::HasSubstr;

constexpr const char* kHostile = "a\nb\x1b[31m\x7f\xc2\x9b\xff";
constexpr const char* kShown = "a\\nb\\x1b[31m\\x7f\\xc2\\x9b\\xff";

// For output with several lines.
bool is_printable(const std::string& text) {
  return std::ranges::all_of(text, [](char character) {
    const auto byte = static_cast<unsigned char>(character);
    return character == '\n' || (byte >= 0x20 && byte < 0x7f);
  });
}

class PrintableTest : public ::testing::Test {
 protected:
  void SetUp() override { make_pool("data", image_, {"--label", kHostile}); }

  const test::TemporaryDirectory directory_;
  const std::string image_ = directory_ / (std::string(kHostile) + ".img");
  const std::string shown_ = directory_ / (std::string(kShown) + ".img");
};

TEST_F(PrintableTest, OutputForPeople) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"list", image_},
                                                    {"info", image_},
                                                    {"df", image_},
                                                    {"get", image_},
                                                    {"get", image_, "label"},
                                                    {"dump", image_},
                                                    {"check", image_},
                                                    {"grow", image_},
                                                    {"destroy", "--yes", image_}}) {
    const Result result = mpool_command(arguments);
    EXPECT_EQ(result.status, kSuccess) << arguments.front() << result.err;
    EXPECT_PRED1(is_printable, result.out) << arguments.front();
    EXPECT_PRED1(is_printable, result.err) << arguments.front();
  }
  EXPECT_FALSE(is_printable(kHostile));
}

TEST_F(PrintableTest, NamesStayRecognisable) {
  EXPECT_THAT(mpool_command({"list", image_}).out, HasSubstr(shown_));
  EXPECT_THAT(mpool_command({"info", image_}).out,
              HasSubstr(std::string("label \"") + kShown + "\""));
  EXPECT_EQ(mpool_command({"get", image_, "label"}).out, std::string(kShown) + "\n");
}

TEST_F(PrintableTest, Messages) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"list", image_ + "x"},
        {"info", image_ + "x"},
        {"df", image_ + "x"},
        {"check", image_ + "x"},
        {"create", "data", image_},
        {"create", kHostile, directory_ / "other"},
        {"set", image_, std::string("label=") + std::string(200, '\a')},
        {"get", image_, kHostile},
        {kHostile},
        {"list", "--" + std::string(kHostile)}}) {
    const Result result = mpool_command(arguments);
    EXPECT_NE(result.status, kSuccess) << arguments.front();
    EXPECT_NE(result.err, "") << arguments.front();
    EXPECT_PRED1(is_printable, result.err) << arguments.front();
  }
}

TEST_F(PrintableTest, JsonIsValidAndHoldsNoControlCharacters) {
  for (const char* command : {"list", "info", "df", "get", "dump", "check"}) {
    const Result result = mpool_command({command, "--json", image_});
    EXPECT_EQ(result.status, kSuccess) << command << result.err;
    EXPECT_PRED1(is_printable, result.out) << command;
    EXPECT_TRUE(Json::accept(result.out)) << command;
  }
  EXPECT_EQ(mpool_json({"get", "--json", image_, "label"})["label"],
            "a\nb\x1b[31m\x7f\xc2\x9b\xef\xbf\xbd");
}

}  // namespace
}  // namespace mpool::tools

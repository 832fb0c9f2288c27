#include "engine/base/printable.h"

#include <sstream>

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include "engine/base/printable_sink.h"

namespace mpool {
namespace {

TEST(Printable, LeavesTextAlone) {
  for (const char* text : {"", "pool data: fine", "\\n is two characters", "größe 東京 🗄",
                           "\xc2\xa0no-break space", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(printable(text), text);
  }
}

TEST(Printable, ReplacesControlCharacters) {
  EXPECT_EQ(printable("a\nb\tc\rd"), "a\\nb\\tc\\rd");
  EXPECT_EQ(printable("\x1b[31mred\x7f\a"), "\\x1b[31mred\\x7f\\x07");
  EXPECT_EQ(printable(std::string_view("\0x", 2)), "\\x00x");
  // C1: CSI and NEL.
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m\xc2\x85"),
            "\\xc2\\x9b31m\\xc2\\x85");
}

TEST(Printable, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(printable("\x9b"
                      "31m"),
            "\\x9b31m");
  EXPECT_EQ(printable("a\xff"
                      "b\xc3"),
            "a\\xffb\\xc3");
  EXPECT_EQ(printable("\xc3("), "\\xc3(");
  EXPECT_EQ(printable("\xc0\x8a"), "\\xc0\\x8a");                    // an overlong newline
  EXPECT_EQ(printable("\xe0\x80\x9b"), "\\xe0\\x80\\x9b");           // an overlong CSI
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
  EXPECT_EQ(printable("\xf8\x88\x80\x80\x80"), "\\xf8\\x88\\x80\\x80\\x80");
}

TEST(Printable, ReplacesWhatChangesLinesOrTheirDirection) {
  EXPECT_EQ(printable("a\xe2\x80\xae"
                      "b\xe2\x80\xa8"),
            "a\\u{202e}b\\u{2028}");
  EXPECT_EQ(printable("\xe2\x81\xa6\xd8\x9c"), "\\u{2066}\\u{061c}");
}

TEST(PrintableSink, AMessageIsOneLine) {
  std::ostringstream out;
  const auto sink = std::make_shared<PrintableSink>();
  sink->set_sinks({std::make_shared<spdlog::sinks::ostream_sink_mt>(out)});
  spdlog::logger logger("mpoolfs", sink);
  logger.set_pattern("%n: %v");
  logger.warn("{}: lost", "file\nmpoolfs: all is well\x1b[2K");
  EXPECT_EQ(out.str(), "mpoolfs: file\\nmpoolfs: all is well\\x1b[2K: lost\n");
}

}  // namespace
}  // namespace mpool

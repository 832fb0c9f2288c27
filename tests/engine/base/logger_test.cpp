#include "engine/base/logger.h"

#include <sstream>

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

namespace mpool {
namespace {

class LoggerTest : public testing::Test {
 protected:
  LoggerTest() {
    target_->set_pattern("%l %v");
    target_->set_level(spdlog::level::debug);
  }

  std::ostringstream text_;
  const std::shared_ptr<spdlog::logger> target_ = std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text_));
  const Logger logger_{target_};
};

TEST_F(LoggerTest, EachLevelHasItsFunction) {
  logger_.debug("a {}", 1);
  logger_.info("b {}", "two");
  logger_.warn("c {:#x}", 3);
  logger_.error("d");
  EXPECT_EQ(text_.str(), "debug a 1\ninfo b two\nwarning c 0x3\nerror d\n");
}

TEST_F(LoggerTest, WhatLooksLikeAFormatInAnArgumentIsNone) {
  logger_.error("{}", "{} {0} {x");
  EXPECT_EQ(text_.str(), "error {} {0} {x\n");
}

TEST_F(LoggerTest, FollowsTheLevelOfItsTarget) {
  target_->set_level(spdlog::level::warn);
  logger_.info("a");
  logger_.warn("b");
  EXPECT_EQ(text_.str(), "warning b\n");
}

TEST_F(LoggerTest, CopiesShareTheTarget) {
  const Logger copy = logger_;
  copy.info("a");
  EXPECT_EQ(text_.str(), "info a\n");
}

TEST(SilentLogger, DropsMessages) {
  Logger().error("{}", 1);
}

}  // namespace
}  // namespace mpool

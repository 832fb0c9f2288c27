#include "engine/base/logger.h"

#include <cassert>
#include <exception>
#include <utility>

#include <fmt/format.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>

namespace mpool {

namespace {

// Without state. Never destroyed: threads may log while the process ends.
const std::shared_ptr<spdlog::logger>& silent() {
  static const auto& logger = *new std::shared_ptr<spdlog::logger>([] {
    auto made =
        std::make_shared<spdlog::logger>("silent", std::make_shared<spdlog::sinks::null_sink_mt>());
    made->set_level(spdlog::level::off);
    return made;
  }());
  return logger;
}

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warn:
      return spdlog::level::warn;
    case LogLevel::error:
      break;
  }
  return spdlog::level::err;
}

}  // namespace

Logger::Logger() : target_(silent()) {}

Logger::Logger(std::shared_ptr<spdlog::logger> target) : target_(std::move(target)) {
  assert(target_ != nullptr);
}

void Logger::log(LogLevel level, fmt::string_view format, fmt::format_args args) const noexcept {
  const auto target_level = level_of(level);
  if (!target_->should_log(target_level)) return;
  try {
    target_->log(target_level, spdlog::string_view_t(fmt::vformat(format, args)));
  } catch (const std::exception&) {
    // There is no other place for it.
  }
}

}  // namespace mpool

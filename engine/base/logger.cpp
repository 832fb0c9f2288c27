#include "engine/base/logger.h"

#include <cassert>
#include <utility>

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

}  // namespace

Logger::Logger() : target_(silent()) {}

Logger::Logger(std::shared_ptr<spdlog::logger> target) : target_(std::move(target)) {
  assert(target_ != nullptr);
}

}  // namespace mpool

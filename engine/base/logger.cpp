#include "engine/base/logger.h"

#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>

namespace mpool {

spdlog::logger& logger_or_default(const Logger& logger) {
  return logger ? *logger : *spdlog::default_logger_raw();
}

Logger silent_logger() {
  return std::make_shared<spdlog::logger>("silent",
                                          std::make_shared<spdlog::sinks::null_sink_mt>());
}

}  // namespace mpool

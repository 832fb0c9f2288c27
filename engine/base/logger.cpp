#include "engine/base/logger.h"

#include <utility>

#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>

namespace mpool {

namespace {

// Never destroyed: threads may log while the process ends.
Logger& replaced_default() {
  static Logger& logger = *new Logger;
  return logger;
}

}  // namespace

spdlog::logger& logger_or_default(const Logger& logger) {
  if (logger) return *logger;
  const Logger& replaced = replaced_default();
  return replaced ? *replaced : *spdlog::default_logger_raw();
}

void set_default_logger(Logger logger) {
  replaced_default() = std::move(logger);
}

Logger silent_logger() {
  return std::make_shared<spdlog::logger>("silent",
                                          std::make_shared<spdlog::sinks::null_sink_mt>());
}

}  // namespace mpool

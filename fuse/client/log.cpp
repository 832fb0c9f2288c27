#include "fuse/client/log.h"

#include <memory>
#include <string>

#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <syslog.h>

#include "engine/base/printable.h"

namespace libmpool {

namespace {

int priority_of(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::critical:
      return LOG_CRIT;
    case spdlog::level::err:
      return LOG_ERR;
    case spdlog::level::warn:
      return LOG_WARNING;
    case spdlog::level::info:
      return LOG_INFO;
    default:
      return LOG_DEBUG;
  }
}

// syslog(3) serialises messages itself.
class SyslogSink : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const std::string text = mpool::printable({message.payload.data(), message.payload.size()});
    ::syslog(LOG_USER | priority_of(message.level), "mpool: %s", text.c_str());
  }
  void flush_() override {}
};

mpool::Logger make_logger() {
  auto logger = std::make_shared<spdlog::logger>("libmpool", std::make_shared<SyslogSink>());
  // By default spdlog writes failures of its own to stderr.
  logger->set_error_handler([](const std::string&) {});
  return logger;
}

}  // namespace

const mpool::Logger& library_logger() {
  // Threads of a program that exits may still log.
  static const mpool::Logger& logger = *new mpool::Logger(make_logger());
  return logger;
}

}  // namespace libmpool

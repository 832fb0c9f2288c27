// Messages of the engine in memory.
#pragma once

#include <cstddef>
#include <memory>
#include <sstream>
#include <string>

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include "engine/base/logger.h"

namespace mpool::test {

// Must outlive what logs to it. Read when no other thread logs.
class CapturedLog {
 public:
  const Logger& logger() const { return logger_; }

  std::size_t lines_with(const std::string& what) const {
    std::istringstream stream(text_.str());
    std::size_t count = 0;
    for (std::string line; std::getline(stream, line);) {
      if (line.find(what) != std::string::npos) ++count;
    }
    return count;
  }

 private:
  std::ostringstream text_;
  Logger logger_ = std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text_));
};

}  // namespace mpool::test

// Where messages go.
#pragma once

#include <memory>

namespace spdlog {
class logger;
}

namespace mpool {

// Handed to what has messages; there is none for the process. Copies share the target, whose sinks
// must be thread-safe. Sources that log include spdlog.
class Logger {
 public:
  // Drops all messages.
  Logger();
  // Not null.
  Logger(std::shared_ptr<spdlog::logger> target);

  spdlog::logger& operator*() const noexcept { return *target_; }
  spdlog::logger* operator->() const noexcept { return target_.get(); }

 private:
  std::shared_ptr<spdlog::logger> target_;
};

}  // namespace mpool

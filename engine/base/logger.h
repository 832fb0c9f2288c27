// Where messages go.
#pragma once

#include <cstdint>
#include <memory>

#include <fmt/core.h>

namespace spdlog {
class logger;
}

namespace mpool {

enum class LogLevel : std::uint8_t { debug, info, warn, error };

// Handed to what has messages; there is none for the process. Copies share the target, whose sinks
// must be thread-safe. Arguments are those of fmt::format(). No function throws: a message that
// cannot be formatted is dropped.
class Logger {
 public:
  // Drops all messages.
  Logger();
  // Not null.
  Logger(std::shared_ptr<spdlog::logger> target);

  template <typename... Args>
  void debug(fmt::format_string<Args...> format, Args&&... args) const noexcept {
    log(LogLevel::debug, format, fmt::make_format_args(args...));
  }
  template <typename... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) const noexcept {
    log(LogLevel::info, format, fmt::make_format_args(args...));
  }
  template <typename... Args>
  void warn(fmt::format_string<Args...> format, Args&&... args) const noexcept {
    log(LogLevel::warn, format, fmt::make_format_args(args...));
  }
  template <typename... Args>
  void error(fmt::format_string<Args...> format, Args&&... args) const noexcept {
    log(LogLevel::error, format, fmt::make_format_args(args...));
  }

 private:
  void log(LogLevel level, fmt::string_view format, fmt::format_args args) const noexcept;

  std::shared_ptr<spdlog::logger> target_;
};

}  // namespace mpool

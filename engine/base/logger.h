// Where messages go.
#pragma once

#include <memory>

namespace spdlog {
class logger;
}

namespace mpool {

// Of a pool and its devices (ActivateOptions::logger). Null: the process's default logger, as it is
// at the time of a message. Its sinks must be thread-safe. Sources that log include spdlog.
using Logger = std::shared_ptr<spdlog::logger>;

spdlog::logger& logger_or_default(const Logger& logger);

// Replaces the process's default logger, for a library in a program with one of its own. Called
// once, before other functions of the engine.
void set_default_logger(Logger logger);

// Drops all messages.
Logger silent_logger();

}  // namespace mpool

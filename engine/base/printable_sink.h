// Log messages as single lines that cannot control a terminal.
#pragma once

#include <string>

#include <spdlog/sinks/dist_sink.h>

#include "engine/base/printable.h"

namespace mpool {

// Passes each message to its sinks through printable(): names from the media and from users cannot
// forge lines. Programs make it the only sink of their default logger.
//
// Threads: thread-safe, as every spdlog sink that ends with _mt.
class PrintableSink : public spdlog::sinks::dist_sink_mt {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const std::string text = printable({message.payload.data(), message.payload.size()});
    spdlog::details::log_msg shown = message;
    shown.payload = text;
    spdlog::sinks::dist_sink_mt::sink_it_(shown);
  }
};

}  // namespace mpool

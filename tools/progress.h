// Progress of a long sub-command, on the terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "tools/context.h"

namespace mpool::tools {

// One line on standard error, rewritten repeatedly; no output where that is no terminal.
class Progress {
 public:
  // command: "mpool dump".
  Progress(Context& context, std::string command)
      : context_(context), command_(std::move(command)) {}
  ~Progress();  // ends the line, which stays
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // "mpool dump: 3 of 10 objects". Cheap enough to be called for every object.
  void show(std::uint64_t done, std::uint64_t total, std::string_view unit);
  // Erases the line, before other output.
  void clear();

 private:
  Context& context_;
  const std::string command_;
  std::chrono::steady_clock::time_point next_{};
  bool shown_ = false;
};

}  // namespace mpool::tools

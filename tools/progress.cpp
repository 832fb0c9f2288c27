#include "tools/progress.h"

#include <ostream>

#include "tools/print.h"

namespace mpool::tools {

namespace {

constexpr std::chrono::milliseconds kInterval{100};

}  // namespace

Progress::~Progress() {
  if (shown_) print_escaped(context_.err, "\n");
}

void Progress::show(std::uint64_t done, std::uint64_t total, std::string_view unit) {
  if (!context_.err_is_terminal) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_ && done != total) return;
  next_ = now + kInterval;
  print_escaped(context_.err, "\r\033[K{}: {} of {} {}", command_, done, total, unit);
  context_.err.flush();
  shown_ = true;
}

void Progress::clear() {
  if (!shown_) return;
  print_escaped(context_.err, "\r\033[K");
  context_.err.flush();
  shown_ = false;
}

}  // namespace mpool::tools

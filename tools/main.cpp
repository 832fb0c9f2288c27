// mpool(8).
#include <csignal>
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "engine/base/printable_sink.h"
#include "tools/commands.h"
#include "tools/print.h"

int main(int argc, char** argv) {
  using namespace mpool::tools;
  // Standard output is for results.
  const auto sink = std::make_shared<mpool::PrintableSink>();
  sink->add_sink(std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("mpool", sink));
  spdlog::set_level(spdlog::level::warn);
  spdlog::set_pattern("%n: %v");
  // A file size limit below the size of an image is an error of the write.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    Context context{.in = std::cin,
                    .out = std::cout,
                    .err = std::cerr,
                    .in_is_terminal = ::isatty(STDIN_FILENO) == 1,
                    .err_is_terminal = ::isatty(STDERR_FILENO) == 1};
    const int status = run_mpool(context, arguments);
    if (!std::cout.flush()) {
      std::cerr << "mpool: writing to standard output failed\n";
      return kFailure;
    }
    return status;
  } catch (const std::exception& error) {
    print_escaped(std::cerr, "mpool: {}\n", error.what());
    return kFailure;
  }
}

// mpool(8).
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "tools/commands.h"

int main(int argc, char** argv) {
  using namespace mpool::tools;
  // Standard output is for results.
  spdlog::set_default_logger(spdlog::stderr_color_st("mpool"));
  spdlog::set_level(spdlog::level::warn);
  spdlog::set_pattern("%n: %v");
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
    std::cerr << "mpool: " << error.what() << '\n';
    return kFailure;
  }
}

// mpoolfs(8), and mount.mpoolfs, the helper of mount(8).
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "engine/base/printable.h"
#include "fuse/daemon.h"
#include "fuse/options.h"
#include "fuse/remount.h"
#include "fuse/serve.h"
#include "fuse/session.h"

namespace {

// Exit statuses.
constexpr int kSuccess = 0;
constexpr int kFailure = 1;  // the pool could not be mounted, or the mount ended with an error
constexpr int kUsage = 2;    // the command line is invalid; nothing was changed

int perform(mpoolfs::Options options, mpoolfs::Messages& messages) {
  if (options.remount) {
    mpoolfs::remount(options);
    return kSuccess;
  }
  mpoolfs::check_mount_point(options);
  const mpoolfs::Environment environment{.logger = messages.logger(),
                                         .clock = mpool::system_clock()};
  mpoolfs::resolve(options, environment);
  if (options.fake) return kSuccess;
  mpoolfs::Startup startup(options.foreground, messages);
  mpoolfs::block_end_signals();
  mpoolfs::allow_many_files();
  mpoolfs::mount_and_serve(options, environment, startup);
  return kSuccess;
}

int run(const mpoolfs::Options& options) {
  mpoolfs::Messages messages(options.debug);
  // Of libfuse, whose log function is one for the process.
  spdlog::set_default_logger(messages.target());
  try {
    return perform(options, messages);
  } catch (const std::exception& error) {
    messages.logger().error("{}", error.what());
    return kFailure;
  }
}

}  // namespace

int main(int argc, char** argv) {
  mpoolfs::ignore_write_signals();
  try {
    const std::string program = std::filesystem::path(argc > 0 ? argv[0] : "").filename();
    const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
    const mpoolfs::Options options =
        mpoolfs::parse_options(arguments, program.starts_with("mount."));
    if (options.help || options.version) {
      fmt::print("{}", options.help ? mpoolfs::help_text() : "mpoolfs " MPOOLFS_VERSION "\n");
      return std::fflush(stdout) == 0 ? kSuccess : kFailure;
    }
    return run(options);
  } catch (const mpoolfs::UsageError& error) {
    fmt::print(stderr, "mpoolfs: {}\nTry: mpoolfs --help\n", mpool::printable(error.what()));
    return kUsage;
  } catch (const std::exception& error) {
    fmt::print(stderr, "mpoolfs: {}\n", mpool::printable(error.what()));
    return kFailure;
  }
}

#include "fuse/daemon.h"

#include <cerrno>
#include <cstdlib>
#include <memory>

#include <fcntl.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "engine/base/error.h"

namespace mpoolfs {

namespace {

constexpr char kSuccess = 1;

[[noreturn]] void wait_for_child(int pipe) {
  char told = 0;
  ssize_t got = 0;
  do {
    got = ::read(pipe, &told, 1);
  } while (got < 0 && errno == EINTR);
  // State copied from the parent must not be flushed or destroyed twice.
  ::_exit(got == 1 && told == kSuccess ? EXIT_SUCCESS : EXIT_FAILURE);
}

std::shared_ptr<spdlog::logger> make_logger(const std::shared_ptr<mpool::PrintableSink>& sink,
                                            bool debug) {
  sink->add_sink(std::make_shared<spdlog::sinks::stderr_sink_mt>());
  auto logger = std::make_shared<spdlog::logger>("mpoolfs", sink);
  logger->set_pattern("%n: %l: %v");
  logger->set_level(debug ? spdlog::level::debug : spdlog::level::info);
  logger->flush_on(spdlog::level::trace);
  return logger;
}

void close_standard_streams(const mpool::Logger& logger) {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) {
    logger.warn("/dev/null: {}", mpool::errno_text(errno));
    return;
  }
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    ::dup2(null, stream);
  if (null > STDERR_FILENO) ::close(null);
}

}  // namespace

Messages::Messages(bool debug)
    : sink_(std::make_shared<mpool::PrintableSink>()), target_(make_logger(sink_, debug)) {}

void Messages::to_syslog() {
  sink_->set_sinks(
      {std::make_shared<spdlog::sinks::syslog_sink_mt>("mpoolfs", LOG_PID, LOG_DAEMON, false)});
}

void allow_many_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

Startup::Startup(bool foreground, Messages& messages) : messages_(messages) {
  if (foreground) return;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) mpool::raise_system(errno, "mpoolfs", "pipe");
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) mpool::raise_system(errno, "mpoolfs", "fork");
  if (child > 0) {
    ::close(ends[1]);
    wait_for_child(ends[0]);
  }
  ::close(ends[0]);
  pipe_ = ends[1];
  ::setsid();
  ::umask(0);
  // The working directory of the command must remain unmountable.
  if (::chdir("/") != 0) mpool::raise_system(errno, "/", "chdir");
}

Startup::~Startup() {
  if (pipe_ >= 0) ::close(pipe_);
}

void Startup::succeeded() {
  if (pipe_ < 0) return;
  messages_.to_syslog();
  close_standard_streams(messages_.logger());
  if (::write(pipe_, &kSuccess, 1) != 1) {
    messages_.logger().warn("telling the caller of the mount: {}", mpool::errno_text(errno));
  }
  ::close(pipe_);
  pipe_ = -1;
}

}  // namespace mpoolfs

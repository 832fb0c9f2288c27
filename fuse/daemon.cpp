#include "fuse/daemon.h"

#include <cerrno>
#include <cstdio>
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
#include "engine/base/printable_sink.h"

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

// The destination of the default logger's messages. It can be changed while other threads log.
std::shared_ptr<mpool::PrintableSink>& target_sink() {
  static auto sink = std::make_shared<mpool::PrintableSink>();
  return sink;
}

void log_to_syslog() {
  target_sink()->set_sinks(
      {std::make_shared<spdlog::sinks::syslog_sink_mt>("mpoolfs", LOG_PID, LOG_DAEMON, false)});
}

void close_standard_streams() {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) {
    spdlog::warn("/dev/null: {}", mpool::errno_text(errno));
    return;
  }
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    ::dup2(null, stream);
  if (null > STDERR_FILENO) ::close(null);
}

}  // namespace

void log_to_stderr(bool debug) {
  target_sink()->set_sinks({std::make_shared<spdlog::sinks::stderr_sink_mt>()});
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("mpoolfs", target_sink()));
  spdlog::set_pattern("%n: %l: %v");
  spdlog::set_level(debug ? spdlog::level::debug : spdlog::level::info);
  spdlog::flush_on(spdlog::level::trace);
}

void allow_many_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

Startup::Startup(bool foreground) {
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
  log_to_syslog();
  close_standard_streams();
  if (::write(pipe_, &kSuccess, 1) != 1) {
    spdlog::warn("telling the caller of the mount: {}", mpool::errno_text(errno));
  }
  ::close(pipe_);
  pipe_ = -1;
}

}  // namespace mpoolfs

// What concerns the whole process: daemonizing, limits, the destination of log messages.
#pragma once

#include <memory>

#include <sys/types.h>

#include "engine/base/logger.h"
#include "engine/base/printable_sink.h"

namespace mpoolfs {

// Where the messages of the daemon go: to standard error at first.
//
// Threads: as spdlog; to_syslog() may be called while other threads log.
class Messages {
 public:
  explicit Messages(bool debug);

  mpool::Logger logger() const { return target_; }
  const std::shared_ptr<spdlog::logger>& target() const { return target_; }
  void to_syslog();

 private:
  std::shared_ptr<mpool::PrintableSink> sink_;
  std::shared_ptr<spdlog::logger> target_;
};

// Raises the limit of open files to its maximum: each file that the kernel reads natively is also
// open in this process.
void allow_many_files();

// The background process's side of the start: the parent waits for its report.
//
// Not thread-safe.
class Startup {
 public:
  // Forks, unless `foreground`; must be called before any thread exists. Returns in the child. The
  // parent never returns: it exits with 0 after the child's succeeded(), or with 1 when the child
  // has ended (the child has written the reason to standard error).
  // The messages must outlive it.
  Startup(bool foreground, Messages& messages);
  ~Startup();
  Startup(const Startup&) = delete;
  Startup& operator=(const Startup&) = delete;

  // Reports that the mount is usable. In the background: from now on messages go to syslog and the
  // standard streams to /dev/null, and the parent exits. Later calls have no effect.
  void succeeded();

 private:
  Messages& messages_;
  int pipe_ = -1;  // to the parent; -1 in the foreground or when done
};

}  // namespace mpoolfs

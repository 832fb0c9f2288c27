// Going to the background, and where messages go.
#pragma once

#include <sys/types.h>

namespace mpoolfs {

// Logs to standard error until leave_terminal().
void log_to_stderr(bool debug);

// The background process's side of the start: the parent waits until it is told how it went.
//
// Not thread-safe.
class Startup {
 public:
  // Forks, unless `foreground`; to be called before any thread exists. Returns in the child. The
  // parent never returns: it exits with 0 after the child's succeeded(), otherwise, when the child
  // has ended, with 1 (the child has written why to standard error).
  explicit Startup(bool foreground);
  ~Startup();
  Startup(const Startup&) = delete;
  Startup& operator=(const Startup&) = delete;

  // The mount is usable. In the background: messages go to syslog from here on, the standard
  // streams to /dev/null, and the parent is let go. Later calls do nothing.
  void succeeded();

 private:
  int pipe_ = -1;  // to the parent; -1 in the foreground or when done
};

}  // namespace mpoolfs

#include "tools/bounded_read.h"

#include <array>
#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/io/file_descriptor.h"

namespace mpool::tools {

namespace {

using Clock = std::chrono::steady_clock;

// The reading process sends its identity and the file, then this end mark: without it the data is
// incomplete.
constexpr char kComplete = '\n';

bool send(int pipe, const void* data, std::size_t length) {
  const char* at = static_cast<const char*>(data);
  while (length > 0) {
    const ssize_t sent = ::write(pipe, at, length);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    at += sent;
    length -= static_cast<std::size_t>(sent);
  }
  return true;
}

// Runs in the reading process; only system calls.
[[noreturn]] void read_and_send(const char* path, int pipe) {
  // It may live long: readers of the command's output must not wait for it.
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) ::_exit(1);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    ::dup2(null, stream);
  const pid_t self = ::getpid();
  if (!send(pipe, &self, sizeof self)) ::_exit(1);
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) ::_exit(1);
  std::array<char, 4096> part;
  while (true) {
    const ssize_t length = ::read(file, part.data(), part.size());
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) ::_exit(1);
    if (length == 0) break;
    if (!send(pipe, part.data(), static_cast<std::size_t>(length))) ::_exit(1);
  }
  ::_exit(send(pipe, &kComplete, 1) ? 0 : 1);
}

// All data from the pipe; empty when its end does not arrive in time.
std::string receive(int pipe, std::chrono::milliseconds limit, std::string& received) {
  const auto deadline = Clock::now() + limit;
  std::array<char, 4096> part;
  while (received.size() <= kMaxBoundedRead) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd watched{.fd = pipe, .events = POLLIN, .revents = 0};
    const int ready = left > 0 ? ::poll(&watched, 1, static_cast<int>(left)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return {};
    const ssize_t length = ::read(pipe, part.data(), part.size());
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return {};
    if (length == 0) return received;
    received.append(part.data(), static_cast<std::size_t>(length));
  }
  return {};
}

}  // namespace

std::optional<std::string> read_within(const std::string& path, std::chrono::milliseconds limit) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
  const FileDescriptor from(ends[0]);
  {
    const FileDescriptor to(ends[1]);
    const pid_t child = ::fork();
    if (child < 0) return std::nullopt;
    if (child == 0) {
      // The reading process is not a child of the command, so that nothing waits for it.
      const pid_t reader = ::fork();
      if (reader == 0) read_and_send(path.c_str(), to.get());
      ::_exit(reader < 0 ? 1 : 0);
    }
    while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  std::string received;
  std::string content = receive(from.get(), limit, received);
  pid_t reader = 0;
  if (received.size() < sizeof reader) return std::nullopt;
  received.copy(reinterpret_cast<char*>(&reader), sizeof reader);
  if (content.size() <= sizeof reader || content.back() != kComplete) {
    ::kill(reader, SIGKILL);
    return std::nullopt;
  }
  content.pop_back();
  return content.substr(sizeof reader);
}

}  // namespace mpool::tools

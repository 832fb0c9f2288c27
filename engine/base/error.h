// The engine's one exception type.
#pragma once

#include <exception>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace mpool {

// A failure with the errno value a caller should act on and a message for a person. The message
// names the pool, device, file or object concerned first ("/dev/loop3: superblock 0: checksum 0x…
// expected 0x…"). Only the FUSE layer and the command translate it, each in one place.
class Error : public std::exception {
 public:
  // code: a positive errno value. subject: what the failure concerns (a path, a pool, an object).
  Error(int code, std::string subject, std::string detail);

  int code() const noexcept { return code_; }
  const std::string& subject() const noexcept { return subject_; }
  const std::string& detail() const noexcept { return detail_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  int code_;
  std::string subject_;
  std::string detail_;
  std::string message_;
};

// Throws Error{code, subject, formatted detail}.
template <typename... Args>
[[noreturn]] void raise(int code, std::string subject, fmt::format_string<Args...> format,
                        Args&&... args) {
  throw Error(code, std::move(subject), fmt::format(format, std::forward<Args>(args)...));
}

// Throws for a failed system call: detail = "<operation>: <strerror(code)>".
[[noreturn]] void raise_system(int code, std::string subject, const std::string& operation);

// The text of an errno value; thread-safe.
std::string errno_text(int code);

}  // namespace mpool

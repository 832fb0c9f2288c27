// Errors of the programs in this folder.
#pragma once

#include <stdexcept>
#include <string>

namespace apps {

// A call of the library failed, or what was read is damaged (ENODATA).
class CallError : public std::runtime_error {
 public:
  CallError(int code, const std::string& what) : std::runtime_error(what), code_(code) {}
  int code() const noexcept { return code_; }  // errno

 private:
  int code_;
};

}  // namespace apps

// The environment of a sub-command of mpool: its streams, so that tests can call it as a function.
#pragma once

#include <iosfwd>

namespace mpool::tools {

struct Context {
  std::istream& in;
  std::ostream& out;             // results
  std::ostream& err;             // messages, questions, progress
  bool in_is_terminal = false;   // questions are possible
  bool err_is_terminal = false;  // progress is shown
};

// Exit statuses.
inline constexpr int kSuccess = 0;
inline constexpr int kFailure = 1;  // the requested operation failed
inline constexpr int kUsage = 2;    // the command line is invalid; nothing was changed

// Exit statuses of mpool check, as of fsck(8); the sum of those that apply.
inline constexpr int kCorrected = 1;
inline constexpr int kErrorsLeft = 4;
inline constexpr int kCheckFailure = 8;
inline constexpr int kCheckUsage = 16;

}  // namespace mpool::tools

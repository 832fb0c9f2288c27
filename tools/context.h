// What a sub-command of mpool works with: its streams, so that it is a function that tests can
// call.
#pragma once

#include <iosfwd>

namespace mpool::tools {

struct Context {
  std::istream& in;
  std::ostream& out;             // results
  std::ostream& err;             // messages, questions, progress
  bool in_is_terminal = false;   // questions can be asked
  bool err_is_terminal = false;  // progress is shown
};

// Exit statuses.
inline constexpr int kSuccess = 0;
inline constexpr int kFailure = 1;  // what was asked for could not be done
inline constexpr int kUsage = 2;    // the command line is wrong; nothing was touched

// Those of mpool check, which follows fsck(8); the sum of those that apply.
inline constexpr int kCorrected = 1;
inline constexpr int kErrorsLeft = 4;
inline constexpr int kCheckFailure = 8;
inline constexpr int kCheckUsage = 16;

}  // namespace mpool::tools

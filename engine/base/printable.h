// Text of unknown origin for terminals and logs.
#pragma once

#include <string>
#include <string_view>

namespace mpool {

// Returns `text` as one line that cannot control a terminal. Replacements:
//   newline, tab and carriage return: "\n", "\t" and "\r";
//   other control characters and bytes that are not UTF-8: "\x1b", two hexadecimal digits a byte;
//   line separators and characters that change the direction of text: "\u{202e}".
// All other text, backslashes included, stays as it is. The result is valid UTF-8.
std::string printable(std::string_view text);

}  // namespace mpool

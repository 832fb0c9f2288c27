// Text of unknown origin for terminals and logs.
#pragma once

#include <string>
#include <string_view>

namespace mpool {

// `text` as one line that cannot control a terminal. Replaced are
//   newline, tab and carriage return: by "\n", "\t" and "\r";
//   other control characters and bytes that are not UTF-8: by "\x1b", two hexadecimal digits a
//   byte; line separators and characters that change the direction of text: by "\u{202e}".
// Everything else, backslashes too, stays as it is. The result is valid UTF-8.
std::string printable(std::string_view text);

}  // namespace mpool

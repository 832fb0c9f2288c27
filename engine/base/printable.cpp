#include "engine/base/printable.h"

#include <cstddef>
#include <cstdint>

#include <fmt/format.h>

namespace mpool {

namespace {

constexpr std::uint32_t kMaxCodePoint = 0x10ffff;

// A UTF-8 character; length 0: invalid bytes.
struct Character {
  std::uint32_t code = 0;
  std::size_t length = 0;
};

std::uint8_t byte_at(std::string_view text, std::size_t at) {
  return static_cast<std::uint8_t>(text[at]);
}

// The first character of a text that is not empty (RFC 3629: no surrogates, the shortest form
// only).
Character first_character(std::string_view text) {
  const std::uint8_t lead = byte_at(text, 0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return {};
  std::uint32_t code = lead & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte_at(text, i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte_at(text, i) & 0x3fu);
  }
  constexpr std::uint32_t kMinCodePoint[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < kMinCodePoint[length] || code > kMaxCodePoint || surrogate) return {};
  return {code, length};
}

bool is_control(std::uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

// Line and paragraph separators, and marks that change the direction of the text around them.
bool is_layout(std::uint32_t code) {
  return code == 0x061c || code == 0x200e || code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
         (code >= 0x2066 && code <= 0x2069);
}

void append_bytes(std::string& shown, std::string_view bytes) {
  for (const char byte : bytes)
    shown += fmt::format("\\x{:02x}", static_cast<std::uint8_t>(byte));
}

void append_control(std::string& shown, std::string_view bytes) {
  switch (bytes.front()) {
    case '\n':
      shown += "\\n";
      break;
    case '\t':
      shown += "\\t";
      break;
    case '\r':
      shown += "\\r";
      break;
    default:
      append_bytes(shown, bytes);
  }
}

}  // namespace

std::string printable(std::string_view text) {
  std::string shown;
  shown.reserve(text.size());
  while (!text.empty()) {
    const Character next = first_character(text);
    const std::string_view bytes = text.substr(0, next.length == 0 ? 1 : next.length);
    if (next.length == 0) {
      append_bytes(shown, bytes);
    } else if (is_control(next.code)) {
      append_control(shown, bytes);
    } else if (is_layout(next.code)) {
      shown += fmt::format("\\u{{{:04x}}}", next.code);
    } else {
      shown += bytes;
    }
    text.remove_prefix(bytes.size());
  }
  return shown;
}

}  // namespace mpool

// Output for terminals: names from the media and from users are made printable.
#pragma once

#include <concepts>
#include <ostream>
#include <string_view>

#include <fmt/format.h>

#include "engine/base/printable.h"

namespace mpool::tools {

// An argument of print_escaped(): text is made printable (engine/base/printable.h).
template <typename T>
auto escaped(const T& value) {
  if constexpr (std::convertible_to<const T&, std::string_view>) {
    return printable(std::string_view(value));
  } else {
    return value;
  }
}

// fmt::print() with every text argument made printable. The format string itself is printed
// unchanged.
template <typename... Args>
void print_escaped(std::ostream& out, fmt::format_string<const Args&...> format,
                   const Args&... args) {
  out << fmt::vformat(format, fmt::make_format_args(escaped(args)...));
}

}  // namespace mpool::tools

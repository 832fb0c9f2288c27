#include "engine/format/object_id.h"

#include <charconv>

#include <fmt/format.h>

namespace mpool {

std::string ObjectId::to_string() const {
  return fmt::format("{:#x}", value);
}

std::optional<ObjectId> ObjectId::parse(std::string_view text) {
  constexpr std::string_view kPrefix = "0x";
  ObjectId id;
  const char* const end = text.data() + text.size();
  if (!text.starts_with(kPrefix) ||
      std::from_chars(text.data() + kPrefix.size(), end, id.value, 16) !=
          std::from_chars_result{end, std::errc{}}) {
    return std::nullopt;
  }
  return id;
}

}  // namespace mpool

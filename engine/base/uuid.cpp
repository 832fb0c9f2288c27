#include "engine/base/uuid.h"

#include <cstring>

#include <uuid/uuid.h>

namespace mpool {
namespace {

static_assert(sizeof(uuid_t) == Uuid::kSize);
constexpr std::size_t kTextLength = UUID_STR_LEN - 1;

}  // namespace

Uuid Uuid::random() {
  uuid_t raw;
  uuid_generate(raw);
  return load(as_bytes(raw, sizeof raw), 0);
}

std::optional<Uuid> Uuid::parse(std::string_view text) {
  uuid_t raw;
  if (text.size() != kTextLength || uuid_parse(std::string(text).c_str(), raw) != 0) {
    return std::nullopt;
  }
  return load(as_bytes(raw, sizeof raw), 0);
}

Uuid Uuid::load(ConstByteSpan from, std::size_t offset) {
  Uuid result;
  std::memcpy(result.bytes.data(), from.subspan(offset, kSize).data(), kSize);
  return result;
}

void Uuid::store(ByteSpan into, std::size_t offset) const {
  std::memcpy(into.subspan(offset, kSize).data(), bytes.data(), kSize);
}

std::string Uuid::to_string() const {
  uuid_t raw;
  std::memcpy(raw, bytes.data(), kSize);
  std::string text(kTextLength, '\0');
  uuid_unparse_lower(raw, text.data());
  return text;
}

}  // namespace mpool

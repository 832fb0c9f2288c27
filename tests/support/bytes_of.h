// Text as bytes.
#pragma once

#include <string_view>

#include "engine/base/bytes.h"

namespace mpool::test {

inline ConstByteSpan bytes_of(std::string_view text) {
  return as_bytes(text.data(), text.size());
}

}  // namespace mpool::test

#include "engine/format/object_id.h"

#include <fmt/format.h>

namespace mpool {

std::string ObjectId::to_string() const {
  return fmt::format("{:#x}", value);
}

}  // namespace mpool

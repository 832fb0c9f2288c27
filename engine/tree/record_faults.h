// Validation of a namespace record, independent of the tree it belongs to (engine/tree/records.md,
// "Validity").
// Pure, thread-safe. Applied before a record is written and after it was read.
#pragma once

#include <string>
#include <string_view>

#include "engine/tree/records.h"

namespace mpool::names {

// Empty when every field of the record is in its range and the fields are consistent; otherwise the
// fault.
std::string fault_of(const Record& record);

// The same for the name of a directory entry.
std::string fault_of_name(std::string_view name);

// True for the mlogs of MDC0..255 and of the root MDC: they are never the content of a file.
constexpr bool is_metadata_log(ObjectId id) {
  return id.slot() == 0 || id == root_log_id(0) || id == root_log_id(1);
}

}  // namespace mpool::names

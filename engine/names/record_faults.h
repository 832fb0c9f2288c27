// What can be wrong with a namespace record whatever tree it belongs to (engine/names/records.md,
// "Validity").
// Pure, thread-safe. Asked before a record is written and after it was read.
#pragma once

#include <string>
#include <string_view>

#include "engine/names/records.h"

namespace mpool::names {

// Empty when every field of the record is in its range and they fit each other; else what is
// wrong.
std::string fault_of(const Record& record);

// The same for the name of an entry of a directory.
std::string fault_of_name(std::string_view name);

// True for the mlogs of MDC0..255 and of the root MDC: no file's content.
constexpr bool is_metadata_log(ObjectId id) {
  return id.slot() == 0 || id == root_log_id(0) || id == root_log_id(1);
}

}  // namespace mpool::names
